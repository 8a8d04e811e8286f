#include "backends/onnx/onnx_model.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>

#include "backends/engine_files.h"
#include "backends/onnx/provider_options.h"
#include "backends/padded_backend.h"
#include "base/text.h"
#include "model/bert_onnx.h"

namespace rerankd::ort {
namespace {

namespace fs = std::filesystem;

// Calls an Update…ProviderOptions function of the C API.
template <typename Update, typename Options>
Status Set(const Runtime& runtime, Options* options, const ProviderOptions& values) {
  std::vector<const char*> keys, texts;
  for (const auto& [key, value] : values) {
    keys.push_back(key.c_str());
    texts.push_back(value.c_str());
  }
  return runtime.Call<Update>(options, keys.data(), texts.data(), keys.size());
}

}  // namespace

Result<std::shared_ptr<const OnnxModel>> OnnxModel::Load(const Runtime& runtime,
                                                         const PluginRequest& request) {
  std::shared_ptr<OnnxModel> model(new OnnxModel(runtime));
  RERANKD_RETURN_IF_ERROR(model->Open(request));
  return std::shared_ptr<const OnnxModel>(std::move(model));
}

Status OnnxModel::Open(const PluginRequest& request) {
  RERANKD_ASSIGN_OR_RETURN(config_, LoadModelConfig(request.directory));
  precision_ = request.precision == "auto" ? "fp32" : request.precision;
  OptionsHandle options(runtime_);
  RERANKD_RETURN_IF_ERROR(runtime_.Call<CreateSessionOptions>(options.out()));
  RERANKD_RETURN_IF_ERROR(runtime_.Call<SetSessionGraphOptimizationLevel>(options.get(), kOptimizeAll));
  // A worker is a thread of ours: several of them run the one session.
  RERANKD_RETURN_IF_ERROR(runtime_.Call<SetIntraOpNumThreads>(options.get(), 1));
  RERANKD_RETURN_IF_ERROR(AddProvider(request, options.get()));
  return OpenSession(request, options.get());
}

Status OnnxModel::OpenSession(const PluginRequest& request, const SessionOptions* options) {
  const std::string file = FindEngineFile(request.directory, request.backend, precision_);
  if (!file.empty()) {
    details_ += ", " + fs::path(file).filename().string();
    bytes_ = static_cast<int64_t>(fs::file_size(file));
    RERANKD_RETURN_IF_ERROR(
        runtime_.Call<CreateSession>(runtime_.env(), file.c_str(), options, session_.out())
            .WithContext(file));
    return ReadSignature(file);
  }
  RERANKD_ASSIGN_OR_RETURN(const std::string model, Export(request));
  details_ += ", exported from the weights";
  bytes_ = static_cast<int64_t>(model.size());
  RERANKD_RETURN_IF_ERROR(runtime_.Call<CreateSessionFromArray>(
      runtime_.env(), static_cast<const void*>(model.data()), model.size(), options, session_.out()));
  return ReadSignature("the exported model");
}

Result<std::string> OnnxModel::Export(const PluginRequest& request) const {
  // TensorRT chooses half arithmetic itself.
  const bool engine_halves = request.backend == "tensorrt" && precision_ == "fp16";
  if (precision_ != "fp32" && precision_ != "int8" && !engine_halves)
    return FailedPrecondition(
        "precision '" + precision_ + "' of backend " + request.backend + ": " + request.directory +
        " has none of " + Join(EngineFiles(request.backend, precision_), ", ") +
        "; from the weights it makes fp32 and int8; `rerankd pull MODEL --backend " + request.backend +
        " --precision " + precision_ + "` gets such a file if the repository has one");
  RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(request.directory, config_));
  const auto products = precision_ == "int8" ? OnnxProducts::kInt8 : OnnxProducts::kFloat;
  return BertOnnxModel(config_, source, {.products = products, .unsigned_codes = !HasVnni()});
}

Result<std::string> OnnxModel::Name(bool input, size_t index) const {
  Allocator* allocator = nullptr;
  RERANKD_RETURN_IF_ERROR(runtime_.Call<GetAllocatorWithDefaultOptions>(&allocator));
  char* text = nullptr;
  RERANKD_RETURN_IF_ERROR(input
                              ? runtime_.Call<SessionGetInputName>(session_.get(), index, allocator, &text)
                              : runtime_.Call<SessionGetOutputName>(session_.get(), index, allocator, &text));
  std::string name = text;
  RERANKD_RETURN_IF_ERROR(runtime_.Call<AllocatorFree>(allocator, static_cast<void*>(text)));
  return name;
}

Status OnnxModel::ReadSignature(const std::string& file) {
  size_t count = 0;
  RERANKD_RETURN_IF_ERROR(runtime_.Call<SessionGetInputCount>(session_.get(), &count));
  for (size_t i = 0; i < count; ++i) {
    RERANKD_ASSIGN_OR_RETURN(std::string name, Name(true, i));
    if (std::find(std::begin(kInputs), std::end(kInputs), name) == std::end(kInputs))
      return FailedPrecondition(file + " has an input '" + name + "'; known are " +
                                Join(std::vector<std::string>(std::begin(kInputs), std::end(kInputs)), ", "));
    inputs_.push_back(std::move(name));
  }
  if (inputs_.size() < std::size(kInputs))
    return FailedPrecondition(file + " has only the inputs " + Join(inputs_, ", ") +
                              ": without token types or mask its scores would be wrong; remove the file and "
                              "rerankd makes its own");
  RERANKD_ASSIGN_OR_RETURN(output_, Name(false, 0));
  Handle<TypeInfo, ReleaseTypeInfo> type(runtime_);
  RERANKD_RETURN_IF_ERROR(runtime_.Call<SessionGetOutputTypeInfo>(session_.get(), size_t{0}, type.out()));
  const ShapeInfo* shape = nullptr;  // belongs to `type`
  RERANKD_RETURN_IF_ERROR(runtime_.Call<CastTypeInfoToTensorInfo>(type.get(), &shape));
  int element = 0;
  RERANKD_RETURN_IF_ERROR(runtime_.Call<GetTensorElementType>(shape, &element));
  half_output_ = element == kFloat16;
  if (element == kFloat || half_output_) return {};
  return FailedPrecondition(file + ": output '" + output_ + "' has element type " + std::to_string(element) +
                            "; float or float16 is needed");
}

Status OnnxModel::AddProvider(const PluginRequest& request, SessionOptions* options) {
  const std::string& device = request.device;
  details_ = "ONNX Runtime " + runtime_.version();
  if (request.backend == "tensorrt") return AddTensorRt(request, options);
  if (device == "cpu") return {};
  if (device.starts_with("cuda")) return AddCuda(device, options);
  if (device == "coreml" || device == "mps") {
    if (!runtime_.Has("CoreMLExecutionProvider"))
      return NoSuchDevice(device, request.backend, MissingProvider(runtime_, "CoreMLExecutionProvider"));
    details_ += ", CoreML";
    return runtime_.Call<SessionOptionsAppendExecutionProvider>(
        options, "CoreML", static_cast<const char* const*>(nullptr), static_cast<const char* const*>(nullptr),
        size_t{0});
  }
  return NoSuchDevice(device, request.backend, "not one of cpu, cuda, cuda:N, coreml");
}

Status OnnxModel::AddCuda(const std::string& device, SessionOptions* options) {
  if (!runtime_.Has("CUDAExecutionProvider"))
    return NoSuchDevice(device, "onnx", MissingProvider(runtime_, "CUDAExecutionProvider"));
  details_ += ", CUDA";
  Handle<CudaOptions, ReleaseCUDAProviderOptions> cuda(runtime_);
  RERANKD_RETURN_IF_ERROR(runtime_.Call<CreateCUDAProviderOptions>(cuda.out()));
  RERANKD_RETURN_IF_ERROR(
      Set<UpdateCUDAProviderOptions>(runtime_, cuda.get(), {{"device_id", CudaIndex(device)}}));
  // fp32 has 24 bits, of which the provider keeps 11 unless told (since 1.18: an older one decides by
  // itself).
  if (!Set<UpdateCUDAProviderOptions>(runtime_, cuda.get(), {{"use_tf32", "0"}}).ok())
    details_ += " with TF32 as it likes";
  return runtime_.Call<SessionOptionsAppendExecutionProvider_CUDA_V2>(options, cuda.get());
}

// What TensorRT does not take runs on CUDA.
Status OnnxModel::AddTensorRt(const PluginRequest& request, SessionOptions* options) {
  if (!runtime_.Has("TensorrtExecutionProvider"))
    return FailedPrecondition("backend tensorrt: " + MissingProvider(runtime_, "TensorrtExecutionProvider"));
  details_ += ", TensorRT";
  Handle<TensorRtOptions, ReleaseTensorRTProviderOptions> tensorrt(runtime_);
  RERANKD_RETURN_IF_ERROR(runtime_.Call<CreateTensorRTProviderOptions>(tensorrt.out()));
  const std::string cache = TensorRtCache();
  if (!cache.empty()) fs::create_directories(cache);
  RERANKD_RETURN_IF_ERROR(Set<UpdateTensorRTProviderOptions>(
      runtime_, tensorrt.get(), TensorRtSettings(request.device, precision_, config_.max_positions, cache)));
  RERANKD_RETURN_IF_ERROR(
      runtime_.Call<SessionOptionsAppendExecutionProvider_TensorRT_V2>(options, tensorrt.get()));
  return AddCuda(request.device, options);
}

std::string MissingProvider(const Runtime& runtime, const std::string& provider) {
  return "ONNX Runtime " + runtime.version() + " (" + runtime.path() + ") has no " + provider + ", only " +
         Join(runtime.providers(), ", ");
}

}  // namespace rerankd::ort
