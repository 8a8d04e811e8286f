#include "serving/http/calls.h"

#include <charconv>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>

#include "core/scoring.h"

namespace rerankd::serving {
namespace {

Result<std::optional<Overflow>> ReadOverflow(const Json& body) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, OptionalString(body, "overflow", ""));
  if (text.empty()) return std::optional<Overflow>();
  RERANKD_ASSIGN_OR_RETURN(const Overflow policy, ParseOverflow(text));
  return std::optional(policy);
}

// vLLM: -1 = as long as the model allows, n = tokens that are left of the pair.
Status ReadPromptTokens(const Json& body, TextLimits* limits) {
  const Json* value = Find(body, "truncate_prompt_tokens");
  if (value == nullptr) return {};
  RERANKD_ASSIGN_OR_RETURN(const int64_t tokens, ReadInteger(*value, "truncate_prompt_tokens", -1,
                                                             std::numeric_limits<int>::max()));
  if (tokens == 0) return InvalidArgument("`truncate_prompt_tokens` must be -1 or at least 1, not 0");
  if (tokens > 0) limits->pair.max_length = static_cast<int>(tokens);
  return {};
}

Status ReadOverflowOptions(const Json& body, OverflowOptions* overflow) {
  RERANKD_ASSIGN_OR_RETURN(overflow->max_tokens_per_doc, OptionalCount(body, "max_tokens_per_doc", 0));
  RERANKD_ASSIGN_OR_RETURN(overflow->max_tokens_per_query, OptionalCount(body, "max_tokens_per_query", 0));
  RERANKD_ASSIGN_OR_RETURN(overflow->max_windows_per_doc, OptionalCount(body, "max_chunks_per_doc", 0));
  if (overflow->max_windows_per_doc > 0) overflow->policy = Overflow::kMaxWindow;
  RERANKD_ASSIGN_OR_RETURN(overflow->window, OptionalCount(body, "window", 0));
  RERANKD_ASSIGN_OR_RETURN(overflow->stride, OptionalCount(body, "stride", 0));
  RERANKD_ASSIGN_OR_RETURN(const std::optional<Overflow> policy, ReadOverflow(body));
  if (policy) overflow->policy = policy;
  return {};
}

}  // namespace

void Call::Refuse(const Failure& failure) const {
  const Status counted = service.Refuse(route, failure.status);
  RespondError(respond, error, {counted, failure.http, failure.tei_type});
}

Status ReadTeiLimits(const Json& body, TextLimits* limits) {
  if (Find(body, "truncate") != nullptr) {
    RERANKD_ASSIGN_OR_RETURN(const bool truncate, OptionalBool(body, "truncate", true));
    limits->overflow.policy = truncate ? Overflow::kTruncate : Overflow::kError;
    limits->pair.truncation = truncate ? Truncation::kLongestFirst : Truncation::kError;
  }
  RERANKD_ASSIGN_OR_RETURN(const std::string direction,
                           OptionalString(body, "truncation_direction", "Right"));
  if (direction != "Left" && direction != "left" && direction != "Right" && direction != "right")
    return InvalidArgument("`truncation_direction` must be Left or Right, not '" + direction + "'");
  limits->pair.truncate_left = direction == "Left" || direction == "left";
  return ReadOverflowOptions(body, &limits->overflow);
}

Status ReadDocumentLimits(const Json& body, TextLimits* limits) {
  limits->pair.truncation = Truncation::kDocumentOnly;
  RERANKD_RETURN_IF_ERROR(ReadPromptTokens(body, limits));
  RERANKD_ASSIGN_OR_RETURN(const std::string side, OptionalString(body, "truncation_side", "right"));
  if (side != "left" && side != "right")
    return InvalidArgument("`truncation_side` must be left or right, not '" + side + "'");
  limits->pair.truncate_left = side == "left";
  return ReadOverflowOptions(body, &limits->overflow);
}

void SubmitCall(const Call& call, std::string_view model_name, ScoreRequest score, MakeAnswer make) {
  const Result<const ModelInfo*> model = call.service.ChooseModel(model_name);
  if (!model.ok()) return call.Refuse({model.status()});
  const auto deadline = RequestDeadline(call.request);
  if (!deadline.ok()) return call.Refuse({deadline.status()});
  score.model = (*model)->name;
  score.deadline = *deadline;
  Attribute(call.request, &score);
  const auto answered = [&service = call.service, route = call.route, model = *model, error = call.error,
                         respond = call.respond, make = std::move(make)](Result<Answer> answer) {
    if (!answer.ok()) return RespondError(respond, error, {answer.status()});
    respond(
        [&service, route, model, error, make, answer = std::make_shared<const Answer>(std::move(*answer))] {
          Result<HttpReply> reply = make(*answer, *model);
          if (!reply.ok()) return ErrorReply(error, {service.Refuse(route, reply.status())});
          AddAnswer(*answer, model->name, &*reply);
          return std::move(*reply);
        });
  };
  const Status admitted = call.service.Submit(call.route, call.request.started, std::move(score), answered);
  if (!admitted.ok()) RespondError(call.respond, call.error, {admitted});
}

void SubmitRelevanceCall(const Call& call, std::string_view model, ScoreRequest score, MakeAnswer make) {
  const Result<const ModelInfo*> chosen = call.service.ChooseModel(model);
  if (chosen.ok()) {
    if (Status has = HasRelevance((*chosen)->num_labels); !has.ok()) return call.Refuse({std::move(has)});
  }
  SubmitCall(call, model, std::move(score), std::move(make));
}

Result<std::optional<TimePoint>> RequestDeadline(const HttpRequest& request) {
  const std::string_view text = request.Header("x-request-timeout-ms");
  if (text.empty()) return std::optional<TimePoint>();
  int64_t ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
  constexpr int64_t kDay = 24 * 3600 * 1000;
  if (error != std::errc() || end != text.data() + text.size() || ms <= 0 || ms > kDay)
    return InvalidArgument("x-request-timeout-ms: '" + std::string(text) +
                           "' is not an integer from 1 to 86400000");
  return std::optional<TimePoint>(request.started + std::chrono::milliseconds(ms));
}

Result<TextPair> ReadPair(const Json& item, const std::string& name) {
  if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string())
    return TextPair(item[0].get<std::string>(), item[1].get<std::string>());
  const bool single = item.is_string() || (item.is_array() && item.size() == 1);
  return InvalidArgument("`" + name + "` must be a pair of strings" +
                         (single ? ": this model scores (query, document) pairs, not single texts" : ""));
}

Result<std::vector<float>> ActivatedScores(const ScoreResult& result, Activation activation) {
  if (result.num_labels != 1) return RelevanceScores(result, activation == Activation::kRaw);
  RERANKD_ASSIGN_OR_RETURN(std::vector<float> scores, RelevanceScores(result, /*raw=*/true));
  Activate(activation, 1, scores);
  return scores;
}

int64_t UsageTokens(const ScoreResult& result) {
  return std::accumulate(result.tokens.begin(), result.tokens.end(), int64_t{0});
}

void RespondWith(const Respond& respond, HttpReply reply) {
  respond([reply = std::move(reply)] { return reply; });
}

void RespondError(const Respond& respond, ErrorBody body, const Failure& failure) {
  RespondWith(respond, ErrorReply(body, failure));
}

int64_t UnixSeconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace rerankd::serving
