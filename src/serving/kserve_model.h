// A reranker as a model of the Open Inference Protocol: its tensors, parameters, outputs. Shared by HTTP and
// gRPC, which only read and write their own forms of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/request.h"
#include "core/scoring.h"
#include "engine/engine.h"

namespace rerankd::serving {

inline constexpr std::string_view kKservePlatform = "rerankd_safetensors";

// kNotFound. Models have no versions: "" and "1" mean the one there is.
Result<const ModelInfo*> FindKserveModel(const Engine& engine, std::string_view name,
                                         std::string_view version);

struct KserveTensor {
  std::string name, datatype;
  std::vector<int64_t> shape;  // -1 = any size
};

// BYTES `query` ([1], or one a text) and `texts` [N].
std::vector<KserveTensor> KserveInputs();
// FP32 `scores` ([N], or [N, labels]) in input order, INT32 `tokens` [N], BOOL `truncated` [N].
std::vector<KserveTensor> KserveOutputs(int num_labels);

// What one inference asks for.
struct KserveCall {
  explicit KserveCall(const ModelInfo& the_model) : model(&the_model) {}

  const ModelInfo* model;
  std::vector<std::string> query, texts;
  Activation activation = Activation::kRaw;
  PairOptions pair_options = ScoreRequest().pair_options;  // no limit but the model's
  OverflowOptions overflow;
  std::optional<bool> truncate;
  std::vector<std::string> outputs;  // names; none = all
};

using KserveValue = std::variant<bool, int64_t, double, std::string>;

// Strings: `activation` (raw, sigmoid, softmax, model), `truncation_direction` (left, right), `overflow`.
// Bool: `truncate`. Integers: `max_tokens_per_query`, `max_tokens_per_doc`, `window`, `stride`,
// `max_chunks_per_doc` (means `overflow: max_window` unless that says otherwise).
// Others are ignored, as the protocol wants. Their order does not matter.
Status SetKserveParameter(std::string_view name, const KserveValue& value, KserveCall* call);

// Gives `elements` to an input of the call. kInvalidArgument for a name, datatype or shape that the model
// does not take, and for text that is not UTF-8.
Status SetKserveInput(const KserveTensor& tensor, std::vector<std::string> elements, KserveCall* call);

// The elements of BYTES in their raw form: each after its length in 4 little-endian bytes.
Result<std::vector<std::string>> SplitKserveBytes(const std::string& name, std::string_view raw);

// Takes the texts out of a complete call. kInvalidArgument names what is missing or does not fit.
Result<ScoreRequest> TakeScoreRequest(KserveCall* call);

// The values of one output tensor, in the type of its datatype.
struct KserveOutput {
  KserveTensor tensor;
  std::variant<std::vector<float>, std::vector<int32_t>, std::vector<uint8_t>> values;

  std::string_view raw() const;  // the bytes of `values`, little endian
};
// Those that were asked for, in that order. kInternal if a score is NaN.
Result<std::vector<KserveOutput>> MakeKserveOutputs(const KserveCall& call, const ScoreResult& result);

}  // namespace rerankd::serving
