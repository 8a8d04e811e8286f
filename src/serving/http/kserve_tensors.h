// The Open Inference Protocol over HTTP: the JSON of a request or reply and, with the binary-data extension,
// raw bytes behind it. What it means: kserve_model.h. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serving/http/json.h"
#include "serving/kserve_model.h"

namespace rerankd::serving {

struct InferCall {
  explicit InferCall(const ModelInfo& model) : call(model) {}

  KserveCall call;
  std::optional<std::string> id;
  bool binary_by_default = false;  // parameter `binary_data_output`
  std::vector<bool> binary;        // of each of call.outputs
};

// `json_bytes`: how much of `body` is JSON (header inference-header-content-length); nothing = all of it.
Result<InferCall> ParseInferCall(const ModelInfo& model, std::string_view body,
                                 std::optional<size_t> json_bytes);

struct InferBody {
  std::string text;         // JSON, then the bytes of binary outputs
  size_t json_bytes = 0;    // of `text`
  bool has_binary = false;  // else all of `text` is JSON
};
InferBody FormatInferReply(const InferCall& call, std::span<const KserveOutput> outputs);

}  // namespace rerankd::serving
