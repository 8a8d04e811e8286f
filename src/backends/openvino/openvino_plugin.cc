// Backend "openvino": OpenVINO's CPU, GPU and NPU plugins by their device names.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/properties.hpp>

#include "backends/padded_backend.h"
#include "backends/plugin.h"
#include "base/text.h"
#include "model/bert_onnx.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

// "cpu" -> "CPU", "gpu.1" -> "GPU.1": their spelling.
std::string DeviceName(const std::string& device) {
  std::string name = device;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

// The file of an exported folder that Hugging Face repositories ship; int8 = quantised by NNCF. Empty: none.
std::string FindIr(const std::string& directory, const std::string& precision) {
  const std::vector<const char*> names =
      precision == "int8"
          ? std::vector<const char*>{"openvino_model_qint8_quantized.xml", "openvino_model_int8.xml"}
          : std::vector<const char*>{"openvino_model.xml"};
  for (const char* name : names) {
    for (const fs::path& folder : {fs::path(directory) / "openvino", fs::path(directory)})
      if (fs::exists(folder / name)) return (folder / name).string();
  }
  return "";
}

// A compiled model, shared by the workers of an instance.
struct OpenVinoModel {
  ModelConfig config;
  std::string device, precision, details;
  int64_t bytes = 0;
  ov::CompiledModel compiled;
};

BackendCaps CapsOf(const OpenVinoModel& model, const PluginRequest& request) {
  BackendCaps caps;
  caps.name = "openvino";
  caps.device = request.device;
  caps.precision = model.precision;
  caps.details = model.details;
  caps.batch_tokens = model.device.starts_with("CPU") ? kCpuRectangle : kGpuRectangle;
  return caps;
}

class OpenVinoBackend final : public PaddedBackend {
 public:
  OpenVinoBackend(std::shared_ptr<OpenVinoModel> model, const PluginRequest& request)
      : PaddedBackend(CapsOf(*model, request), model->config),
        model_(std::move(model)),
        request_(model_->compiled.create_infer_request()),
        share_(model_->bytes / std::max(1, request.workers)) {}

  BackendUsage usage() const override {
    if (model_->device.starts_with("CPU")) return {.host_bytes = share_};
    return {.host_bytes = 0, .device_bytes = share_};
  }

 protected:
  Status Run(const PaddedBatch& in, std::span<float> logits) override {
    const ov::Shape shape = {static_cast<size_t>(in.rows), static_cast<size_t>(in.longest)};
    // Read only; the interface knows no const.
    const auto set = [&](const char* name, const std::vector<int64_t>& values) {
      request_.set_tensor(name, ov::Tensor(ov::element::i64, shape, const_cast<int64_t*>(values.data())));
    };
    set("input_ids", in.ids);
    set("attention_mask", in.mask);
    set("token_type_ids", in.type_ids);
    request_.set_output_tensor(
        ov::Tensor(ov::element::f32, {shape[0], logits.size() / shape[0]}, logits.data()));
    request_.infer();
    return {};
  }

 private:
  std::shared_ptr<OpenVinoModel> model_;
  ov::InferRequest request_;
  int64_t share_;
};

class OpenVinoPlugin final : public Plugin {
 public:
  PluginDescription Describe(const std::string&) override {
    PluginDescription description;
    description.details = std::string("OpenVINO ") + ov::get_openvino_version().buildNumber;
    const auto devices = Caught(
        "OpenVINO", [&]() -> Result<std::vector<std::string>> { return core_.get_available_devices(); });
    if (devices.ok())
      description.devices = *devices;
    else
      description.missing = devices.status().message();
    if (description.devices.empty() && description.missing.empty())
      description.missing = "OpenVINO finds no device";
    if (!description.missing.empty()) description.get = "make backends";
    return description;
  }

  Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) override {
    return Caught("OpenVINO, " + request.directory, [&] { return MakeUnguarded(request); });
  }

 private:
  Result<std::vector<std::unique_ptr<Backend>>> MakeUnguarded(const PluginRequest& request) {
    RERANKD_ASSIGN_OR_RETURN(const std::shared_ptr<OpenVinoModel> model, Load(request));
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < request.workers; ++i)
      backends.push_back(std::make_unique<OpenVinoBackend>(model, request));
    return backends;
  }

  Status CheckDevice(const std::string& device, const PluginRequest& request) {
    const std::vector<std::string> devices = core_.get_available_devices();
    if (device.starts_with("AUTO") || std::find(devices.begin(), devices.end(), device) != devices.end())
      return {};
    return NoSuchDevice(request.device, "openvino", "OpenVINO finds " + Join(devices, ", "));
  }

  Result<std::shared_ptr<OpenVinoModel>> Load(const PluginRequest& request) {
    auto model = std::make_shared<OpenVinoModel>();
    RERANKD_ASSIGN_OR_RETURN(model->config, LoadModelConfig(request.directory));
    model->device = DeviceName(request.device);
    RERANKD_RETURN_IF_ERROR(CheckDevice(model->device, request));
    model->precision = request.precision == "auto" ? "fp32" : request.precision;
    RERANKD_ASSIGN_OR_RETURN(const ov::element::Type arithmetic, Arithmetic(*model));
    RERANKD_ASSIGN_OR_RETURN(const std::shared_ptr<ov::Model> network, Read(request, model.get()));
    ov::AnyMap properties = {ov::hint::inference_precision(arithmetic), ov::num_streams(request.workers)};
    // A stream is a worker: as many threads as streams.
    if (model->device.starts_with("CPU")) {
      properties.insert(ov::inference_num_threads(request.workers));
      properties.insert(ov::hint::enable_cpu_pinning(false));
    }
    model->compiled = core_.compile_model(network, model->device, properties);
    return model;
  }

  Result<ov::element::Type> Arithmetic(const OpenVinoModel& model) {
    const std::string& precision = model.precision;
    if (precision == "fp32" || precision == "int8") return ov::element::Type(ov::element::f32);
    if (precision == "int4")
      return FailedPrecondition("precision 'int4' of backend openvino: it makes fp32, bf16, fp16 and int8");
    const std::string wanted = precision == "bf16" ? "BF16" : "FP16";
    const auto can = core_.get_property(model.device, ov::device::capabilities);
    if (std::find(can.begin(), can.end(), wanted) == can.end())
      return FailedPrecondition("precision '" + precision + "' of backend openvino: " + model.device +
                                " of this machine has " + Join(can, ", "));
    return ov::element::Type(precision == "bf16" ? ov::element::bf16 : ov::element::f16);
  }

  Result<std::shared_ptr<ov::Model>> Read(const PluginRequest& request, OpenVinoModel* model) {
    model->details = std::string("OpenVINO ") + ov::get_openvino_version().buildNumber;
    if (const std::string file = FindIr(request.directory, model->precision); !file.empty()) {
      model->details += ", " + fs::path(file).filename().string();
      model->bytes = static_cast<int64_t>(fs::file_size(fs::path(file).replace_extension(".bin")));
      return core_.read_model(file);
    }
    RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(request.directory, model->config));
    const auto products = model->precision == "int8" ? OnnxProducts::kInt8Weights : OnnxProducts::kFloat;
    RERANKD_ASSIGN_OR_RETURN(const std::string onnx,
                             BertOnnxModel(model->config, source, {.products = products}));
    model->details += model->precision == "int8" ? ", int8 weights, fp32 products" : ", from the weights";
    model->bytes = static_cast<int64_t>(onnx.size());
    return core_.read_model(onnx, ov::Tensor());
  }

  ov::Core core_;
};

}  // namespace
}  // namespace rerankd

RERANKD_PLUGIN(rerankd::OpenVinoPlugin)
