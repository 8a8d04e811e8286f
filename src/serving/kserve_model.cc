#include "serving/kserve_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/text.h"

namespace rerankd::serving {
namespace {

static_assert(std::endian::native == std::endian::little, "raw tensors are copied as they are");

Status WrongType(std::string_view name, const char* wanted) {
  return InvalidArgument("parameter `" + std::string(name) + "` must be " + wanted);
}

Status SetActivation(const std::string& name, KserveCall* call) {
  if (name == "model") {
    call->activation = call->model->activation;
    return {};
  }
  const Result<Activation> activation = ParseActivation(name);
  if (!activation.ok())
    return InvalidArgument("parameter `activation` must be raw, model, sigmoid or softmax, not '" + name +
                           "'");
  call->activation = *activation;
  return {};
}

Status SetDirection(const std::string& direction, KserveCall* call) {
  const bool left = direction == "left" || direction == "Left";
  if (!left && direction != "right" && direction != "Right")
    return InvalidArgument("parameter `truncation_direction` must be left or right, not '" + direction + "'");
  call->pair_options.truncate_left = left;
  return {};
}

Status SetOverflow(const std::string& name, KserveCall* call) {
  RERANKD_ASSIGN_OR_RETURN(call->overflow.policy, ParseOverflow(name));
  return {};
}

struct TextParameter {
  std::string_view name;
  Status (*set)(const std::string& value, KserveCall* call);
};
constexpr TextParameter kTexts[] = {
    {"activation", SetActivation}, {"truncation_direction", SetDirection}, {"overflow", SetOverflow}};

struct CountParameter {
  std::string_view name;
  int OverflowOptions::*field;
};
constexpr CountParameter kCounts[] = {{"max_tokens_per_query", &OverflowOptions::max_tokens_per_query},
                                      {"max_tokens_per_doc", &OverflowOptions::max_tokens_per_doc},
                                      {"window", &OverflowOptions::window},
                                      {"stride", &OverflowOptions::stride},
                                      {"max_chunks_per_doc", &OverflowOptions::max_windows_per_doc}};

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
    if (std::count(call.outputs.begin(), call.outputs.end(), name) > 1)
      return InvalidArgument("output `" + name + "` is asked for twice");
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
    if (truncate == nullptr) return WrongType(name, "true or false");
    call->truncate = *truncate;
  }
  for (const TextParameter& parameter : kTexts) {
    if (parameter.name != name) continue;
    const std::string* text = std::get_if<std::string>(&value);
    return text != nullptr ? parameter.set(*text, call) : WrongType(name, "a string");
  }
  for (const CountParameter& parameter : kCounts) {
    if (parameter.name != name) continue;
    const int64_t* count = std::get_if<int64_t>(&value);
    if (count == nullptr || *count < 0 || *count > std::numeric_limits<int>::max())
      return WrongType(name, "an integer from 0 to 2147483647");
    call->overflow.*parameter.field = static_cast<int>(*count);
  }
  return {};
}

Status SetKserveInput(const KserveTensor& tensor, std::vector<std::string> elements, KserveCall* call) {
  if (tensor.name != "query" && tensor.name != "texts")
    return InvalidArgument("input `" + tensor.name + "` is not one of query, texts");
  if (tensor.datatype != "BYTES")
    return InvalidArgument("input `" + tensor.name + "` must be BYTES, not '" + tensor.datatype + "'");
  if (Elements(tensor.shape) != static_cast<int64_t>(elements.size()))
    return InvalidArgument("input `" + tensor.name + "` has " + std::to_string(elements.size()) +
                           " elements, its shape says " + ShapeText(tensor.shape));
  for (size_t i = 0; i < elements.size(); ++i) {  // BYTES may hold anything, texts may not
    if (const std::optional<size_t> at = FirstInvalidUtf8(elements[i]))
      return InvalidArgument("input `" + tensor.name + "`, element " + std::to_string(i) +
                             ": not UTF-8 at byte " + std::to_string(*at));
  }
  std::vector<std::string>& target = tensor.name == "query" ? call->query : call->texts;
  if (!target.empty()) return InvalidArgument("input `" + tensor.name + "` is there twice");
  target = std::move(elements);
  return {};
}

Result<std::vector<std::string>> SplitKserveBytes(const std::string& name, std::string_view raw) {
  std::vector<std::string> elements;
  while (!raw.empty()) {
    uint32_t length = 0;
    if (raw.size() >= sizeof(length)) std::memcpy(&length, raw.data(), sizeof(length));
    if (raw.size() < sizeof(length) || raw.size() - sizeof(length) < length)
      return InvalidArgument("the raw bytes of input `" + name + "` end within element " +
                             std::to_string(elements.size()));
    elements.emplace_back(raw.substr(sizeof(length), length));
    raw.remove_prefix(sizeof(length) + length);
  }
  return elements;
}

Result<ScoreRequest> TakeScoreRequest(KserveCall* call) {
  RERANKD_RETURN_IF_ERROR(CheckOutputs(*call));
  if (call->texts.empty()) return InvalidArgument("input `texts` is missing or empty: send at least 1 text");
  if (call->query.size() != 1 && call->query.size() != call->texts.size())
    return InvalidArgument("input `query` has " + std::to_string(call->query.size()) + " elements for " +
                           std::to_string(call->texts.size()) + " texts: send 1, or one a text");
  ScoreRequest request = ScoreRequest::ForQueries(std::move(call->query), std::move(call->texts));
  request.model = call->model->name;
  request.pair_options = call->pair_options;
  request.overflow = call->overflow;
  std::optional<Overflow>& policy = request.overflow.policy;
  if (!policy && request.overflow.max_windows_per_doc > 0) policy = Overflow::kMaxWindow;
  if (!policy && call->truncate) policy = *call->truncate ? Overflow::kTruncate : Overflow::kError;
  if (policy == Overflow::kError) request.pair_options.truncation = Truncation::kError;
  return request;
}

std::string_view KserveOutput::raw() const {
  return std::visit(
      [](const auto& list) {
        return std::string_view(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(list[0]));
      },
      values);
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
