#include "serving/grpc/kserve_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/scoring.h"

namespace rerankd::serving {
namespace {

const std::string* Text(const KserveValue& value) { return std::get_if<std::string>(&value); }

Status SetActivation(const std::string& name, KserveCall* call) {
  if (name == "model") {
    call->activation = call->model.activation;
    return {};
  }
  RERANKD_ASSIGN_OR_RETURN(call->activation, ParseActivation(name));
  return {};
}

Status SetDirection(const std::string& direction, KserveCall* call) {
  const bool left = direction == "left" || direction == "Left";
  if (!left && direction != "right" && direction != "Right")
    return InvalidArgument("parameter `truncation_direction` must be left or right, not '" + direction + "'");
  call->pair_options.truncate_left = left;
  return {};
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && elements > INT64_MAX / size)) return -1;
    elements *= size;
  }
  return elements;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

Status CheckOutputs(const KserveCall& call) {
  const std::vector<KserveTensor> known = KserveOutputs(1);
  for (const std::string& name : call.outputs) {
    if (std::none_of(known.begin(), known.end(), [&](const KserveTensor& t) { return t.name == name; }))
      return InvalidArgument("output `" + name + "` is not one of scores, tokens, truncated");
  }
  return {};
}

}  // namespace

Result<const ModelInfo*> FindKserveModel(const Engine& engine, std::string_view name,
                                         std::string_view version) {
  RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, engine.FindModel(name));
  if (!version.empty() && version != "1")
    return NotFound("model '" + model->name + "' has no version '" + std::string(version) +
                    "': leave it empty");
  return model;
}

std::vector<KserveTensor> KserveInputs() { return {{"query", "BYTES", {-1}}, {"texts", "BYTES", {-1}}}; }

std::vector<KserveTensor> KserveOutputs(int num_labels) {
  KserveTensor scores = {"scores", "FP32", {-1}};
  if (num_labels > 1) scores.shape.push_back(num_labels);
  return {std::move(scores), {"tokens", "INT32", {-1}}, {"truncated", "BOOL", {-1}}};
}

Status SetKserveParameter(std::string_view name, const KserveValue& value, KserveCall* call) {
  if (name == "truncate") {
    const bool* truncate = std::get_if<bool>(&value);
    if (truncate == nullptr) return InvalidArgument("parameter `truncate` must be true or false");
    call->pair_options.truncation = *truncate ? Truncation::kLongestFirst : Truncation::kError;
    if (*truncate) call->overflow.policy = Overflow::kTruncate;
    return {};
  }
  if (name != "activation" && name != "truncation_direction") return {};
  const std::string* text = Text(value);
  if (text == nullptr) return InvalidArgument("parameter `" + std::string(name) + "` must be a string");
  return name == "activation" ? SetActivation(*text, call) : SetDirection(*text, call);
}

Result<std::vector<std::string>*> KserveInput(const KserveTensor& tensor, int64_t elements,
                                              KserveCall* call) {
  if (tensor.name != "query" && tensor.name != "texts")
    return InvalidArgument("input `" + tensor.name + "` is not one of query, texts");
  if (tensor.datatype != "BYTES")
    return InvalidArgument("input `" + tensor.name + "` must be BYTES, not '" + tensor.datatype + "'");
  if (Elements(tensor.shape) != elements)
    return InvalidArgument("input `" + tensor.name + "` has " + std::to_string(elements) +
                           " elements, its shape says " + ShapeText(tensor.shape));
  return tensor.name == "query" ? &call->query : &call->texts;
}

Result<ScoreRequest> TakeScoreRequest(KserveCall* call) {
  RERANKD_RETURN_IF_ERROR(CheckOutputs(*call));
  if (call->texts.empty()) return InvalidArgument("input `texts` is missing or empty: send at least 1 text");
  if (call->query.size() != 1 && call->query.size() != call->texts.size())
    return InvalidArgument("input `query` has " + std::to_string(call->query.size()) + " elements for " +
                           std::to_string(call->texts.size()) + " texts: send 1, or one a text");
  ScoreRequest request;
  if (call->query.size() == 1) {
    request = ScoreRequest::ForQuery(std::move(call->query.front()), std::move(call->texts));
  } else {
    std::vector<std::pair<std::string, std::string>> pairs;
    pairs.reserve(call->texts.size());
    for (size_t i = 0; i < call->texts.size(); ++i)
      pairs.emplace_back(std::move(call->query[i]), std::move(call->texts[i]));
    request = ScoreRequest::ForPairs(std::move(pairs));
  }
  request.model = call->model.name;
  request.pair_options = call->pair_options;
  request.overflow = call->overflow;
  return request;
}

Result<std::vector<KserveOutput>> MakeKserveOutputs(const KserveCall& call, const ScoreResult& result) {
  std::vector<float> scores = result.logits;
  Activate(call.activation, result.num_labels, scores);
  if (std::any_of(scores.begin(), scores.end(), [](float score) { return std::isnan(score); }))
    return Internal("score is NaN");
  std::vector<KserveTensor> tensors = KserveOutputs(result.num_labels);
  for (KserveTensor& tensor : tensors) tensor.shape.front() = static_cast<int64_t>(result.tokens.size());
  tensors.front().shape.front() = static_cast<int64_t>(scores.size()) / result.num_labels;
  std::vector<KserveOutput> all;
  all.push_back({std::move(tensors[0]), std::move(scores)});
  all.push_back({std::move(tensors[1]), result.tokens});
  all.push_back({std::move(tensors[2]), result.truncated});
  if (call.outputs.empty()) return all;
  std::vector<KserveOutput> wanted;
  for (const std::string& name : call.outputs)
    wanted.push_back(*std::find_if(all.begin(), all.end(),
                                   [&](const KserveOutput& output) { return output.tensor.name == name; }));
  return wanted;
}

}  // namespace rerankd::serving
