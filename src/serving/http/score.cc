#include "serving/http/score.h"

#include <utility>

#include "core/scoring.h"
#include "serving/http/rerank.h"
#include "serving/request_id.h"

namespace rerankd::serving {
namespace {

struct ScoreCall {
  ScoreRequest texts;
  std::string model;
  bool raw = false;
  TextLimits limits;
};

constexpr std::pair<const char*, const char*> kSpellings[] = {
    {"text_1", "text_2"}, {"data_1", "data_2"}, {"queries", "documents"}, {"queries", "items"}};

// A string, or a list of them.
Result<std::vector<std::string>> ReadTexts(const Json& body, const char* key) {
  const Json* value = Find(body, key);
  if (value != nullptr && value->is_string()) return std::vector{value->get<std::string>()};
  RERANKD_ASSIGN_OR_RETURN(std::vector<std::string> texts, RequiredStrings(body, key));
  if (texts.empty()) return InvalidArgument(std::string("`") + key + "` is empty: send at least 1 text");
  return texts;
}

Result<ScoreRequest> Combine(std::vector<std::string> left, std::vector<std::string> right) {
  if (left.size() != 1 && left.size() != right.size())
    return InvalidArgument("the two lists must be 1 and N or N and N texts long, not " +
                           std::to_string(left.size()) + " and " + std::to_string(right.size()));
  return ScoreRequest::ForQueries(std::move(left), std::move(right));
}

Result<ScoreRequest> ReadPairs(const Json& body) {
  for (const auto& [left, right] : kSpellings) {
    if (Find(body, left) == nullptr || Find(body, right) == nullptr) continue;
    RERANKD_ASSIGN_OR_RETURN(auto queries, ReadTexts(body, left));
    RERANKD_ASSIGN_OR_RETURN(auto documents, ReadTexts(body, right));
    return Combine(std::move(queries), std::move(documents));
  }
  return InvalidArgument(
      "the body must have `text_1` and `text_2` (or `data_1` and `data_2`, `queries` and "
      "`documents` or `items`)");
}

Result<ScoreCall> ReadScoreCall(const Json& body) {
  ScoreCall call;
  RERANKD_ASSIGN_OR_RETURN(call.texts, ReadPairs(body));
  RERANKD_ASSIGN_OR_RETURN(call.model, OptionalString(body, "model", ""));
  RERANKD_ASSIGN_OR_RETURN(const bool older, OptionalBool(body, "activation", true));  // vLLM's older name
  RERANKD_ASSIGN_OR_RETURN(const bool activate, OptionalBool(body, "use_activation", older));
  call.raw = !activate;
  RERANKD_RETURN_IF_ERROR(ReadDocumentLimits(body, &call.limits));
  return call;
}

Result<HttpReply> MakeScoreReply(const Answer& answer, const ModelInfo& model, bool raw) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores,
                           ActivatedScores(answer.result, raw ? Activation::kRaw : model.activation));
  Json data = Json::array();
  for (size_t i = 0; i < scores.size(); ++i)
    data.push_back({{"index", i},
                    {"object", "score"},
                    {"score", ScoreJson(scores[i])},
                    {"tokens", answer.result.tokens[i]},
                    {"truncated", answer.result.truncated[i] != 0}});
  const int64_t tokens = UsageTokens(answer.result);
  HttpReply reply;
  reply.body = Dump({{"id", "score-" + NewId()},
                     {"object", "list"},
                     {"created", UnixSeconds()},
                     {"model", model.name},
                     {"data", std::move(data)},
                     {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
  return reply;
}

// SageMaker's: `text_pairs`, and what TEI says of long ones.
struct TextPairsCall {
  std::vector<TextPair> pairs;
  std::string model;
  bool return_tokens = false;
  TextLimits limits;
};

Result<TextPairsCall> ReadTextPairsCall(const Json& body) {
  const Json* list = Find(body, "text_pairs");
  if (list == nullptr || !list->is_array() || list->empty())
    return InvalidArgument("`text_pairs` must be a list of at least 1 pair of strings");
  TextPairsCall call;
  for (const Json& item : *list) {
    RERANKD_ASSIGN_OR_RETURN(TextPair pair,
                             ReadPair(item, "text_pairs[" + std::to_string(call.pairs.size()) + "]"));
    call.pairs.push_back(std::move(pair));
  }
  RERANKD_ASSIGN_OR_RETURN(call.model, OptionalString(body, "model", ""));
  RERANKD_ASSIGN_OR_RETURN(call.return_tokens, OptionalBool(body, "return_tokens", false));
  RERANKD_RETURN_IF_ERROR(ReadTeiLimits(body, &call.limits));
  return call;
}

Result<HttpReply> MakeTextPairsReply(const Answer& answer, bool return_tokens) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores, RelevanceScores(answer.result, /*raw=*/false));
  Json body = {{"scores", Json::array()}};
  for (const float score : scores) body["scores"].push_back(ScoreJson(score));
  if (return_tokens) {
    body["tokens"] = answer.result.tokens;
    body["truncated"] = Json::array();
    for (const uint8_t truncated : answer.result.truncated) body["truncated"].push_back(truncated != 0);
  }
  HttpReply reply;
  reply.body = Dump(body);
  return reply;
}

}  // namespace

void Score(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond) {
  const Call call = {service, route, UnionDialect().error, request, respond};
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return call.Refuse({body.status(), 400});
  Result<ScoreCall> asked = ReadScoreCall(*body);
  if (!asked.ok()) return call.Refuse({asked.status()});
  ScoreRequest score = std::move(asked->texts);
  score.pair_options = asked->limits.pair;
  score.overflow = asked->limits.overflow;
  SubmitRelevanceCall(call, asked->model, std::move(score),
                      [raw = asked->raw](const Answer& answer, const ModelInfo& model) {
                        return MakeScoreReply(answer, model, raw);
                      });
}

void ScoreTextPairs(const Call& call, const Json& body) {
  Result<TextPairsCall> asked = ReadTextPairsCall(body);
  if (!asked.ok()) return call.Refuse({asked.status()});
  ScoreRequest score = ScoreRequest::ForPairs(std::move(asked->pairs));
  score.pair_options = asked->limits.pair;
  score.overflow = asked->limits.overflow;
  SubmitRelevanceCall(call, asked->model, std::move(score),
                      [return_tokens = asked->return_tokens](const Answer& answer, const ModelInfo&) {
                        return MakeTextPairsReply(answer, return_tokens);
                      });
}

}  // namespace rerankd::serving
