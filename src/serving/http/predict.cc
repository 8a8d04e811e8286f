#include "serving/http/predict.h"

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/scoring.h"
#include "serving/code_points.h"
#include "serving/http/rerank.h"
#include "serving/show_tokens.h"

namespace rerankd::serving {
namespace {

struct PredictCall {
  std::vector<TextPair> pairs;
  bool batch = false;  // a list of lists was asked for
  bool raw_scores = false;
  std::string model;
  TextLimits limits;
};

// ["a","b"] is one pair; [["a","b"],…] a batch.
Status ReadInputs(const Json& body, PredictCall* call) {
  const Json* inputs = Find(body, "inputs");
  if (inputs == nullptr) return InvalidArgument("`inputs` is missing");
  call->batch = inputs->is_array() && !inputs->empty() && inputs->front().is_array();
  if (!call->batch) {
    RERANKD_ASSIGN_OR_RETURN(TextPair pair, ReadPair(*inputs, "inputs"));
    call->pairs.push_back(std::move(pair));
    return {};
  }
  for (const Json& item : *inputs) {
    RERANKD_ASSIGN_OR_RETURN(TextPair pair,
                             ReadPair(item, "inputs[" + std::to_string(call->pairs.size()) + "]"));
    call->pairs.push_back(std::move(pair));
  }
  return {};
}

Result<PredictCall> ReadCall(const Json& body) {
  PredictCall call;
  RERANKD_RETURN_IF_ERROR(ReadInputs(body, &call));
  RERANKD_ASSIGN_OR_RETURN(call.raw_scores, OptionalBool(body, "raw_scores", false));
  RERANKD_ASSIGN_OR_RETURN(call.model, OptionalString(body, "model", ""));
  RERANKD_RETURN_IF_ERROR(ReadTeiLimits(body, &call.limits));
  return call;
}

// Every label of one pair, best first.
Json Labels(std::span<const float> scores, const std::vector<std::string>& names) {
  Json labels = Json::array();
  for (const int i : RankDescending(scores, 0)) {
    const auto l = static_cast<size_t>(i);
    const std::string name = l < names.size() ? names[l] : "LABEL_" + std::to_string(i);
    labels.push_back({{"score", ScoreJson(scores[l])}, {"label", name}});
  }
  return labels;
}

HttpReply MakeReply(const Answer& answer, bool batch, bool raw, const std::vector<std::string>& names) {
  std::vector<float> scores = answer.result.logits;
  const auto width = static_cast<size_t>(answer.result.num_labels);
  const Activation activation = width == 1 ? Activation::kSigmoid : Activation::kSoftmax;
  if (!raw) Activate(activation, answer.result.num_labels, scores);
  Json rows = Json::array();
  for (size_t i = 0; i + width <= scores.size(); i += width)
    rows.push_back(Labels(std::span(scores).subspan(i, width), names));
  HttpReply reply;
  reply.body = Dump(batch || rows.empty() ? rows : rows.front());
  return reply;
}

// Appends the JSON of a list. Token by token: a list of JSON values would take ten times the memory.
void AppendTokens(const std::vector<DisplayToken>& tokens, std::string_view text, bool add_special,
                  std::string* out) {
  CodePointCutter cutter(text);
  char separator = '[';
  for (const DisplayToken& token : tokens) {
    const bool special = token.begin == token.end;
    if (special && !add_special) continue;
    *out += std::exchange(separator, ',');
    *out += Dump({{"id", token.id},
                  {"text", special ? token.token : std::string(cutter.Cut(token.begin, token.end))},
                  {"special", special},
                  {"start", special ? Json() : Json(token.begin)},
                  {"stop", special ? Json() : Json(token.end)}});
  }
  *out += separator == '[' ? "[]" : "]";
}

Result<std::string> TokenizeAll(ScoreService& service, const Json& body) {
  const Json* inputs = Find(body, "inputs");
  std::vector<std::string> texts;
  if (inputs != nullptr && inputs->is_string()) {
    texts.push_back(inputs->get<std::string>());
  } else {
    RERANKD_ASSIGN_OR_RETURN(texts, RequiredStrings(body, "inputs"));
  }
  RERANKD_ASSIGN_OR_RETURN(const std::string name, OptionalString(body, "model", ""));
  RERANKD_ASSIGN_OR_RETURN(const ModelInfo* const model, service.ChooseModel(name));
  RERANKD_ASSIGN_OR_RETURN(const bool add_special, OptionalBool(body, "add_special_tokens", true));
  std::string lists = "[";
  size_t before = 0;
  for (const std::string& text : texts) {
    RERANKD_ASSIGN_OR_RETURN(const auto tokens, ShowTokens(*model->tokenizer, text, before));
    before += text.size() + 16;  // empty ones cost something too
    if (lists.size() > 1) lists += ',';
    AppendTokens(tokens, text, add_special, &lists);
  }
  return lists + "]";
}

}  // namespace

void Predict(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond) {
  const Call call = {service, route, TeiDialect().error, request, respond};
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return call.Refuse({body.status(), 400});
  Result<PredictCall> asked = ReadCall(*body);
  if (!asked.ok()) return call.Refuse({asked.status()});
  ScoreRequest score = ScoreRequest::ForPairs(std::move(asked->pairs));
  score.pair_options = asked->limits.pair;
  score.overflow = asked->limits.overflow;
  SubmitCall(call, asked->model, std::move(score),
             [batch = asked->batch, raw = asked->raw_scores](const Answer& answer, const ModelInfo& model) {
               return MakeReply(answer, batch, raw, model.labels);
             });
}

void Tokenize(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond) {
  const Call call = {service, route, TeiDialect().error, request, respond};
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return call.Refuse({body.status(), 400});
  Result<std::string> lists = TokenizeAll(service, *body);
  if (!lists.ok()) return call.Refuse({lists.status()});
  HttpReply reply;
  reply.body = std::move(*lists);
  RespondWith(respond, std::move(reply));
}

}  // namespace rerankd::serving
