// A model folder as a session of ONNX Runtime: its own ONNX file, or one made from its weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/onnx/runtime.h"
#include "backends/plugin.h"
#include "weights/model_config.h"

namespace rerankd::ort {

// Immutable; several threads may run it.
class OnnxModel {
 public:
  // kFailedPrecondition: a precision or device that neither the folder nor the library has, or a file that
  // drops token types.
  static Result<std::shared_ptr<const OnnxModel>> Load(const Runtime& runtime, const PluginRequest& request);

  const Runtime& runtime() const { return runtime_; }
  const ModelConfig& config() const { return config_; }
  Session* session() const { return session_.get(); }
  const std::string& precision() const { return precision_; }
  const std::string& details() const { return details_; }  // provider and origin
  int64_t bytes() const { return bytes_; }                 // of the model
  // Names of the inputs in the order of the session, each one of kInputs; name of the output.
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::string& output() const { return output_; }
  bool half_output() const { return half_output_; }

  static constexpr const char* kInputs[] = {"input_ids", "attention_mask", "token_type_ids"};

 private:
  explicit OnnxModel(const Runtime& runtime) : runtime_(runtime), session_(runtime) {}
  Status Open(const PluginRequest& request);
  Status OpenSession(const PluginRequest& request, const SessionOptions* options);
  Result<std::string> Export(const PluginRequest& request) const;
  Status ReadSignature(const std::string& file);
  Status AddProvider(const PluginRequest& request, SessionOptions* options);
  Status AddCuda(const std::string& device, SessionOptions* options);
  Status AddTensorRt(const PluginRequest& request, SessionOptions* options);
  Result<std::string> Name(bool input, size_t index) const;

  const Runtime& runtime_;
  ModelConfig config_;
  SessionHandle session_;
  std::string precision_, details_, output_;
  std::vector<std::string> inputs_;
  int64_t bytes_ = 0;
  bool half_output_ = false;
};

// Why a device does not work: the providers that the library was built with.
std::string MissingProvider(const Runtime& runtime, const std::string& provider);

}  // namespace rerankd::ort
