// Backend "mlx": MLX on the CPU, and on the GPU of a Mac (Metal) by its device name.
#include <dlfcn.h>
#include <mlx/memory.h>
#include <mlx/transforms.h>
#include <mlx/version.h>

#include <algorithm>
#include <filesystem>

#include "backends/mlx/mlx_encoder.h"

#ifndef __APPLE__
extern "C" {
void cblas_sgemm();  // only its address is used
void openblas_set_num_threads(int threads);
}
#endif

namespace rerankd {
namespace {

namespace mx = mlx::core;

// Which library MLX's matrix products come from: the plugin and libmlx look symbols up in the same order.
std::string BlasName() {
#ifdef __APPLE__
  return "Accelerate";
#else
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&cblas_sgemm), &info) == 0 || info.dli_fname == nullptr)
    return "unknown BLAS";
  return std::filesystem::path(info.dli_fname).filename().string();
#endif
}

std::string Details() { return std::string("MLX ") + mx::version() + ", " + BlasName(); }

// "cpu"; "gpu" or "mps": the GPU of a Mac.
Result<mx::Device> FindDevice(const std::string& name) {
  if (name == "cpu") return mx::Device(mx::Device::cpu);
  if (name != "gpu" && name != "mps") return NoSuchDevice(name, "mlx", "not one of cpu, gpu");
  if (mx::is_available(mx::Device(mx::Device::gpu))) return mx::Device(mx::Device::gpu);
  return NoSuchDevice(name, "mlx",
                      std::string("MLX ") + mx::version() +
                          " of this machine is built without a GPU; that for Metal is in "
                          "its package for macOS");
}

Result<MlxPrecision> FindPrecision(const PluginRequest& request, mx::Device device) {
  const std::string& name = request.precision;
  if (name == "fp32" || name == "auto") return MlxPrecision{};
  if (name == "fp16") return MlxPrecision{mx::float16};
  if (name == "bf16") return MlxPrecision{mx::bfloat16};
  // Weights are quantised, activations are not: halves on a GPU, floats on a CPU, whose halves are slow.
  const mx::Dtype type = device.type == mx::Device::gpu ? mx::float16 : mx::float32;
  return MlxPrecision{type, name == "int8" ? 8 : 4, request.group_size};
}

BackendCaps CapsOf(const PluginRequest& request, const MlxPrecision& precision) {
  BackendCaps caps;
  caps.name = "mlx";
  caps.device = request.device;
  caps.precision = request.precision == "auto" ? "fp32" : request.precision;
  caps.details = Details();
  if (precision.bits > 0)
    caps.details += ", " + std::to_string(precision.bits) + "-bit weights in groups of " +
                    std::to_string(precision.group_size);
  caps.batch_tokens = request.device == "cpu" ? kCpuRectangle : kGpuRectangle;
  return caps;
}

class MlxBackend final : public PaddedBackend {
 public:
  MlxBackend(BackendCaps caps, const ModelConfig& config, std::shared_ptr<const MlxEncoder> encoder,
             int workers)
      : PaddedBackend(std::move(caps), config), encoder_(std::move(encoder)), workers_(workers) {}

  BackendUsage usage() const override {
    if (encoder_->device() == mx::Device::cpu) return {.host_bytes = encoder_->bytes() / workers_};
    return {.device_bytes =
                static_cast<int64_t>(mx::get_active_memory() + mx::get_cache_memory()) / workers_};
  }

 protected:
  Status Run(const PaddedBatch& in, std::span<float> logits) override {
    // A stream of this thread, so that workers run side by side.
    const mx::array out = encoder_->Forward(in, mx::default_stream(encoder_->device()));
    mx::eval(out);  // returns when the device has finished
    if (out.size() != logits.size())
      return Internal("the encoder gives " + std::to_string(out.size()) + " values; " +
                      std::to_string(logits.size()) + " logits were expected");
    std::copy_n(out.data<float>(), logits.size(), logits.begin());
    return {};
  }

 private:
  std::shared_ptr<const MlxEncoder> encoder_;
  int workers_;
};

class MlxPlugin final : public Plugin {
 public:
  MlxPlugin() {
#ifndef __APPLE__
    openblas_set_num_threads(1);  // a worker is a thread of ours
#endif
  }

  PluginDescription Describe(const std::string&) override {
    PluginDescription description{Details(), {"cpu"}, "", ""};
    if (FindDevice("gpu").ok()) description.devices.emplace_back("gpu");
    return description;
  }

  Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) override {
    return Caught("MLX, " + request.directory, [&] { return MakeUnguarded(request); });
  }

 private:
  static Result<std::vector<std::unique_ptr<Backend>>> MakeUnguarded(const PluginRequest& request) {
    RERANKD_ASSIGN_OR_RETURN(const mx::Device device, FindDevice(request.device));
    RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(request.directory));
    RERANKD_ASSIGN_OR_RETURN(const MlxPrecision precision, FindPrecision(request, device));
    RERANKD_ASSIGN_OR_RETURN(const auto encoder,
                             MlxEncoder::Load(request.directory, config, precision, device));
    // A GPU has one queue for everything.
    const int workers = device == mx::Device::cpu ? request.workers : 1;
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < workers; ++i)
      backends.push_back(std::make_unique<MlxBackend>(CapsOf(request, precision), config, encoder, workers));
    return backends;
  }
};

}  // namespace
}  // namespace rerankd

RERANKD_PLUGIN(rerankd::MlxPlugin)
