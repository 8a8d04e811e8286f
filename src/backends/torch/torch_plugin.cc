// Backends "pytorch", "mps", "cuda" and "compiled": one code, of which only the device and the net differ.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/headeronly/version.h>

#include <cstring>
#include <string_view>

#include "backends/padded_backend.h"
#include "backends/plugin.h"
#include "backends/torch/device.h"
#include "backends/torch/net.h"

namespace rerankd {
namespace {

BackendCaps CapsOf(const Net& net, const PluginRequest& request, c10::Device device,
                   const std::string& precision) {
  BackendCaps caps;
  caps.name = request.backend;
  caps.device = request.device;
  caps.precision = precision;
  caps.details = net.details();
  caps.batch_tokens = device.is_cpu() ? kCpuRectangle : kGpuRectangle;
  return caps;
}

// A worker is a thread of ours: operators do not start their own. Each thread has its own settings.
void SetUpThread(c10::Device device) {
  thread_local bool ready = false;
  if (ready) return;
  ready = true;
  at::set_num_threads(1);
  if (!device.is_cuda()) return;
  // fp32 means fp32: no TF32, which keeps 11 of its 24 bits.
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.exchangeDevice(device);
  guard.exchangeStream(guard.getStreamFromGlobalPool(device));
}

class TorchBackend final : public PaddedBackend {
 public:
  TorchBackend(BackendCaps caps, const ModelConfig& config, NetPointer net, c10::Device device, int workers)
      : PaddedBackend(std::move(caps), config), net_(std::move(net)), device_(device), workers_(workers) {}

  BackendUsage usage() const override {
    if (device_.is_cpu()) return {.host_bytes = net_->bytes() / workers_};
    BackendUsage usage = DeviceUsage(device_);
    usage.device_bytes /= workers_;
    return usage;
  }

 protected:
  Status Run(const PaddedBatch& in, std::span<float> logits) override {
    SetUpThread(device_);
    const c10::InferenceMode inference;
    NetInputs inputs;
    inputs.padded = in.padded;
    inputs.ids = Upload(in, in.ids);
    inputs.types = Upload(in, in.type_ids);
    inputs.mask = Upload(in, in.mask);
    const at::Tensor out = Forward(inputs);
    if (static_cast<size_t>(out.numel()) != logits.size())
      return Internal("the net gives " + std::to_string(out.numel()) + " values; " +
                      std::to_string(logits.size()) + " logits were expected");
    std::memcpy(logits.data(), out.const_data_ptr<float>(), logits.size_bytes());
    return {};
  }

 private:
  at::Tensor Forward(const NetInputs& inputs) {
    try {
      // The copy back waits for all that came before it, so that times are honest.
      return net_->Forward(inputs).to(at::kCPU).contiguous();
    } catch (const std::exception& error) {
      // Observed with PyTorch 2.15: once memory had run out in this call, shapes that the thread had not run
      // before went on failing like this after memory was there again; shapes that it had run went on
      // working.
      if (std::string_view(error.what()).find("could not create a primitive") != std::string_view::npos)
        MarkUnhealthy(std::string("after this error PyTorch has been seen to fail for good: ") +
                      error.what());
      throw;
    }
  }

  at::Tensor Upload(const PaddedBatch& in, const std::vector<int64_t>& values) const {
    // Read only; the interface knows no const.
    const at::Tensor host = at::from_blob(const_cast<int64_t*>(values.data()), {in.rows, in.longest},
                                          at::TensorOptions(at::kLong));
    if (device_.is_cpu()) return host;
    if (device_.is_cuda()) return host.pin_memory().to(device_, true);
    return host.to(device_);
  }

  NetPointer net_;
  c10::Device device_;
  int workers_;
};

class TorchPlugin final : public Plugin {
 public:
  PluginDescription Describe(const std::string& backend) override {
    PluginDescription description;
    description.details = "PyTorch " + TorchVersion();
    std::vector<std::string> wanted = {"cpu", "cuda", "mps"};
    if (backend == "mps" || backend == "cuda") wanted = {backend};
    Status last;
    for (const std::string& name : wanted) {
      last = FindTorchDevice(name, backend).status();
      if (last.ok()) description.devices.push_back(name);
    }
    if (!description.devices.empty()) return description;
    description.missing = last.message();
    description.get = backend == "mps" ? "a Mac with its PyTorch package: pip install torch"
                                       : "a machine with an NVIDIA GPU and driver; then make backends";
    return description;
  }

  Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) override {
    return Caught("PyTorch, " + request.directory, [&] { return MakeUnguarded(request); });
  }

 private:
  static Result<std::vector<std::unique_ptr<Backend>>> MakeUnguarded(const PluginRequest& request) {
    RERANKD_ASSIGN_OR_RETURN(const c10::Device device, FindTorchDevice(request.device, request.backend));
    RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(request.directory));
    const std::string precision = request.precision == "auto" ? "fp32" : request.precision;
    SetUpThread(device);
    const c10::InferenceMode inference;
    RERANKD_ASSIGN_OR_RETURN(const NetPointer net, request.backend == "compiled"
                                                       ? LoadCompiled(request, device, precision)
                                                       : MakeEncoder(request, config, device, precision));
    const BackendCaps caps = CapsOf(*net, request, device, precision);
    // MPS has one queue for everything.
    const int workers = device.is_mps() ? 1 : request.workers;
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < workers; ++i)
      backends.push_back(std::make_unique<TorchBackend>(caps, config, net, device, workers));
    return backends;
  }
};

}  // namespace

std::string TorchVersion() { return TORCH_VERSION; }

}  // namespace rerankd

RERANKD_PLUGIN(rerankd::TorchPlugin)
