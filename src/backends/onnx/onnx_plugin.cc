// Backends "onnx" and "tensorrt": ONNX Runtime and its execution providers.
#include <cstring>
#include <span>

#include "backends/onnx/onnx_model.h"
#include "backends/onnx/provider_options.h"
#include "backends/padded_backend.h"
#include "backends/plugin.h"
#include "weights/float_convert.h"

namespace rerankd::ort {
namespace {

constexpr const char* kGetRuntime =
    "make backends, or any ONNX Runtime 1.17+ library: RERANKD_ONNXRUNTIME=/path/to/libonnxruntime.so";
constexpr const char* kGetTensorRt =
    "pip install onnxruntime-gpu tensorrt, then "
    "RERANKD_ONNXRUNTIME=.../onnxruntime/capi/libonnxruntime.so.1.x";

BackendCaps CapsOf(const OnnxModel& model, const PluginRequest& request) {
  BackendCaps caps;
  caps.name = request.backend;
  caps.device = request.device;
  caps.precision = model.precision();
  caps.details = model.details();
  caps.batch_tokens = request.device == "cpu" ? kCpuRectangle : kGpuRectangle;
  if (request.backend == "tensorrt") caps.max_rows = TensorRtRows(model.config().max_positions);
  return caps;
}

class OnnxBackend final : public PaddedBackend {
 public:
  OnnxBackend(std::shared_ptr<const OnnxModel> model, const PluginRequest& request)
      : PaddedBackend(CapsOf(*model, request), model->config()),
        model_(std::move(model)),
        runtime_(model_->runtime()),
        memory_(runtime_),
        share_(model_->bytes() / std::max(1, request.workers)) {}

  Status Start() {
    return runtime_.Call<CreateCpuMemoryInfo>(int{kDeviceAllocator}, int{kMemTypeDefault}, memory_.out());
  }

  BackendUsage usage() const override { return {.host_bytes = share_}; }

 protected:
  Status Run(const PaddedBatch& in, std::span<float> logits) override {
    std::vector<ValueHandle> values;
    std::vector<const Value*> inputs;
    std::vector<const char*> names;
    for (const std::string& name : model_->inputs()) {
      values.emplace_back(runtime_);
      RERANKD_RETURN_IF_ERROR(MakeInput(in, name, &values.back()));
      inputs.push_back(values.back().get());
      names.push_back(name.c_str());
    }
    ValueHandle output(runtime_);
    const char* output_name = model_->output().c_str();
    RERANKD_RETURN_IF_ERROR(
        runtime_.Call<ort::Run>(model_->session(), static_cast<const RunOptions*>(nullptr), names.data(),
                                inputs.data(), inputs.size(), &output_name, size_t{1}, output.out()));
    return Read(output.get(), logits);
  }

 private:
  Status MakeInput(const PaddedBatch& in, const std::string& name, ValueHandle* value) const {
    const std::vector<int64_t>& source = name == OnnxModel::kInputs[0]   ? in.ids
                                         : name == OnnxModel::kInputs[1] ? in.mask
                                                                         : in.type_ids;
    const int64_t shape[] = {in.rows, in.longest};
    // The library reads these; its interface knows no const.
    return runtime_.Call<CreateTensorWithDataAsOrtValue>(
        memory_.get(), static_cast<void*>(const_cast<int64_t*>(source.data())),
        source.size() * sizeof(int64_t), shape, std::size(shape), int{kInt64}, value->out());
  }

  Status Read(Value* output, std::span<float> logits) const {
    Handle<ShapeInfo, ReleaseTensorTypeAndShapeInfo> shape(runtime_);
    RERANKD_RETURN_IF_ERROR(runtime_.Call<GetTensorTypeAndShape>(output, shape.out()));
    size_t count = 0;
    RERANKD_RETURN_IF_ERROR(runtime_.Call<GetTensorShapeElementCount>(shape.get(), &count));
    if (count != logits.size())
      return Internal("output '" + model_->output() + "' has " + std::to_string(count) + " values; " +
                      std::to_string(logits.size()) + " logits were expected");
    void* data = nullptr;
    RERANKD_RETURN_IF_ERROR(runtime_.Call<GetTensorMutableData>(output, &data));
    if (!model_->half_output()) {
      std::memcpy(logits.data(), data, logits.size_bytes());
      return {};
    }
    const auto* halves = static_cast<const uint16_t*>(data);
    for (size_t i = 0; i < count; ++i) logits[i] = FloatFromF16(halves[i]);
    return {};
  }

  std::shared_ptr<const OnnxModel> model_;
  const Runtime& runtime_;
  MemoryHandle memory_;
  int64_t share_;
};

class OnnxPlugin final : public Plugin {
 public:
  PluginDescription Describe(const std::string& backend) override {
    const auto runtime = Runtime::Get();
    if (!runtime.ok())
      return {"", {}, runtime.status().message(), kGetRuntime, runtime.status().code() != Code::kNotFound};
    const Runtime& ort = **runtime;
    PluginDescription description;
    description.details = "ONNX Runtime " + ort.version();
    if (backend == "tensorrt") {
      if (ort.Has("TensorrtExecutionProvider")) {
        description.devices = {"cuda"};
      } else {
        description.missing = MissingProvider(ort, "TensorrtExecutionProvider");
        description.get = kGetTensorRt;
      }
      return description;
    }
    description.devices = {"cpu"};
    if (ort.Has("CUDAExecutionProvider")) description.devices.emplace_back("cuda");
    if (ort.Has("CoreMLExecutionProvider")) description.devices.emplace_back("coreml");
    return description;
  }

  Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) override {
    return Caught("ONNX Runtime, " + request.directory, [&] { return MakeUnguarded(request); });
  }

 private:
  static Result<std::vector<std::unique_ptr<Backend>>> MakeUnguarded(const PluginRequest& request) {
    const auto runtime = Runtime::Get();
    if (!runtime.ok()) return FailedPrecondition(runtime.status().message());
    RERANKD_ASSIGN_OR_RETURN(const auto model, OnnxModel::Load(**runtime, request));
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < request.workers; ++i) {
      auto backend = std::make_unique<OnnxBackend>(model, request);
      RERANKD_RETURN_IF_ERROR(backend->Start());
      backends.push_back(std::move(backend));
    }
    return backends;
  }
};

}  // namespace
}  // namespace rerankd::ort

RERANKD_PLUGIN(rerankd::ort::OnnxPlugin)
