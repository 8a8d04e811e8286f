// Backend "openvino": OpenVINO's CPU, GPU and NPU plugins by their device names.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/properties.hpp>

#include "backends/engine_files.h"
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

constexpr const char* kInputs[] = {"input_ids", "attention_mask", "token_type_ids"};

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
    set(kInputs[0], in.ids);
    set(kInputs[1], in.mask);
    set(kInputs[2], in.type_ids);
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

std::string NameOf(const ov::Output<const ov::Node>& port) {
  return port.get_names().empty() ? "(without a name)" : port.get_any_name();
}

// Exactly our inputs, as int64, and one output of floats.
Status CheckSignature(const std::string& file, const ov::Model& network) {
  const std::vector<std::string> known(std::begin(kInputs), std::end(kInputs));
  std::vector<std::string> inputs;
  for (const ov::Output<const ov::Node>& input : network.inputs()) {
    const std::string name = NameOf(input);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return FailedPrecondition(file + " has an input '" + name + "'; known are " + Join(known, ", "));
    if (input.get_element_type() != ov::element::i64)
      return FailedPrecondition(file + ": input '" + name + "' has type " +
                                input.get_element_type().get_type_name() + "; i64 is needed");
    inputs.push_back(name);
  }
  if (inputs.size() < known.size())
    return FailedPrecondition(file + " has only the inputs " + Join(inputs, ", ") +
                              ": without token types or mask its scores would be wrong; remove the file and "
                              "rerankd makes its own");
  if (network.outputs().size() != 1 || network.output().get_element_type() != ov::element::f32)
    return FailedPrecondition(file + ": one output of type f32 is needed");
  return {};
}

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
    // With int8 weights the device may quantise activations too, by groups: its choice, the fastest it has.
    if (model->precision == "int8" && (model->device.starts_with("CPU") || model->device.starts_with("GPU")))
      model->details +=
          ", dynamic quantisation in groups of " +
          std::to_string(model->compiled.get_property(ov::hint::dynamic_quantization_group_size));
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
    if (const std::string file = FindEngineFile(request.directory, "openvino", model->precision);
        !file.empty())
      return ReadIr(file, model);
    RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(request.directory, model->config));
    const auto products = model->precision == "int8" ? OnnxProducts::kInt8Weights : OnnxProducts::kFloat;
    RERANKD_ASSIGN_OR_RETURN(const std::string onnx,
                             BertOnnxModel(model->config, source, {.products = products}));
    model->details += model->precision == "int8" ? ", int8 weights" : ", from the weights";
    model->bytes = static_cast<int64_t>(onnx.size());
    return core_.read_model(onnx, ov::Tensor());
  }

  // Of the folder, as Hugging Face's exporter writes it.
  Result<std::shared_ptr<ov::Model>> ReadIr(const std::string& file, OpenVinoModel* model) {
    const fs::path weights = fs::path(file).replace_extension(".bin");
    if (!fs::exists(weights))
      return FailedPrecondition(file + " has no weights: there is no " + weights.string());
    model->details += ", " + fs::path(file).filename().string();
    model->bytes = static_cast<int64_t>(fs::file_size(weights));
    return Caught(file, [&]() -> Result<std::shared_ptr<ov::Model>> {
      std::shared_ptr<ov::Model> network = core_.read_model(file);
      RERANKD_RETURN_IF_ERROR(CheckSignature(file, *network));
      return network;
    });
  }

  ov::Core core_;
};

}  // namespace
}  // namespace rerankd

RERANKD_PLUGIN(rerankd::OpenVinoPlugin)
