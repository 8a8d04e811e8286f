// Tensors of the Open Inference Protocol over HTTP: the JSON of a request or reply and, with the binary-data
// extension, raw bytes behind it. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serving/http/json.h"

namespace rerankd::serving {

struct StringTensor {
  std::string name;
  std::vector<std::string> values;  // row-major
};

struct RequestedOutput {
  std::string name;
  bool binary = false;
};

struct InferCall {
  std::optional<std::string> id;
  Json parameters = Json::object();
  std::vector<StringTensor> inputs;
  std::vector<RequestedOutput> outputs;  // empty = all
  bool binary_by_default = false;        // parameter `binary_data_output`

  const StringTensor* Find(std::string_view name) const;
};

// `json_bytes`: how much of `body` is JSON (header inference-header-content-length); nothing = all of it.
// Inputs must be BYTES whose number of values is what their shape says.
Result<InferCall> ParseInferCall(std::string_view body, std::optional<size_t> json_bytes);

// One output, made of numbers of one kind.
struct OutputTensor {
  std::string name;
  std::string datatype;  // "FP32", "INT32", "BOOL"
  std::vector<int64_t> shape;
  Json data;          // a flat list
  std::string bytes;  // the same, little endian
};
OutputTensor Fp32Tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values);
OutputTensor Int32Tensor(std::string name, std::span<const int32_t> values);
OutputTensor BoolTensor(std::string name, std::span<const uint8_t> values);

// kInvalidArgument names an output that is asked for and does not exist.
Status CheckOutputs(const InferCall& call);

// The outputs that `call` asks for, out of `all`.
struct InferBody {
  std::string text;         // JSON, then the bytes of binary outputs
  size_t json_bytes = 0;    // of `text`
  bool has_binary = false;  // else all of `text` is JSON
};
InferBody FormatInferReply(const InferCall& call, const std::string& model,
                           std::span<const OutputTensor> all);

}  // namespace rerankd::serving
