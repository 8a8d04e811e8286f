#include "serving/http/rerank.h"

#include <charconv>
#include <memory>
#include <utility>

#include "core/scoring.h"

namespace rerankd::serving {
namespace {

ScoreRequest MakeScoreRequest(const RerankCall& call, const HttpRequest& request,
                              std::optional<TimePoint> deadline) {
  ScoreRequest score = ScoreRequest::ForQuery(call.query, call.documents);
  score.pair_options = call.pair_options;
  score.deadline = deadline;
  Attribute(request, &score);
  return score;
}

HttpReply MakeReply(const Dialect& dialect, const RerankCall& call, const Answer& answer,
                    const std::string& model) {
  const auto scores = RelevanceScores(answer.result, call.raw_scores);
  if (!scores.ok()) return ErrorReply(dialect.error, {scores.status()});
  const std::vector<int> order = RankDescending(*scores, call.top_n);
  HttpReply reply;
  reply.body = Dump(dialect.format({call, answer.result, *scores, order, model}));
  AddAnswer(answer, &reply);
  return reply;
}

void Submit(ScoreService& service, std::string_view route, const Dialect& dialect, RerankCall call,
            const HttpRequest& request, const Respond& respond) {
  const auto deadline = RequestDeadline(request);
  if (!deadline.ok()) return RespondError(respond, dialect.error, {service.Refuse(route, deadline.status())});
  ScoreRequest score = MakeScoreRequest(call, request, *deadline);
  auto shared = std::make_shared<const RerankCall>(std::move(call));
  const Status admitted = service.Submit(
      route, request.started, std::move(score), [&service, &dialect, shared, respond](Result<Answer> answer) {
        if (!answer.ok()) return RespondError(respond, dialect.error, {answer.status()});
        respond([&service, &dialect, shared, answer = std::make_shared<const Answer>(std::move(*answer))] {
          return MakeReply(dialect, *shared, *answer, service.engine().model().name);
        });
      });
  if (!admitted.ok()) RespondError(respond, dialect.error, {admitted});
}

void RerankBody(ScoreService& service, std::string_view route, const Dialect& dialect, const Json& body,
                const HttpRequest& request, const Respond& respond) {
  Dialect::Parsed parsed = dialect.parse(body, request);
  if (const auto* failure = std::get_if<Failure>(&parsed)) {
    const Status counted = service.Refuse(route, failure->status);
    return RespondError(respond, dialect.error, {counted, failure->http, failure->tei_type});
  }
  Submit(service, route, dialect, std::get<RerankCall>(std::move(parsed)), request, respond);
}

Result<std::string> DocumentText(const Json& document, const std::vector<std::string>& fields,
                                 const std::string& name) {
  if (document.is_string()) return document.get<std::string>();
  if (!document.is_object()) return InvalidArgument("`" + name + "` must be a string or an object");
  std::string text;
  for (const std::string& field : fields) {
    const Json* value = Find(document, field);
    if (value == nullptr) continue;
    if (!value->is_string()) return InvalidArgument("`" + name + "." + field + "` must be a string");
    text += (text.empty() ? "" : "\n") + value->get<std::string>();
  }
  if (text.empty() && Find(document, fields.front()) == nullptr)
    return InvalidArgument("`" + name + "` has no field `" + fields.front() + "`");
  return text;
}

}  // namespace

void Rerank(ScoreService& service, std::string_view route, const Dialect& dialect, HttpRequest& request,
            const Respond& respond) {
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return RespondError(respond, dialect.error, {service.Refuse(route, body.status()), 400});
  RerankBody(service, route, dialect, *body, request, respond);
}

void RerankByKeys(ScoreService& service, std::string_view route, HttpRequest& request,
                  const Respond& respond) {
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok())
    return RespondError(respond, TeiDialect().error, {service.Refuse(route, body.status()), 400});
  const bool texts = Find(*body, "texts") != nullptr;
  const bool documents = Find(*body, "documents") != nullptr;
  if (texts == documents) {
    const Status status =
        InvalidArgument("the body must have either `texts` (TEI) or `documents` (infinity, Jina)");
    return RespondError(respond, TeiDialect().error, {service.Refuse(route, status)});
  }
  RerankBody(service, route, texts ? TeiDialect() : InfinityDialect(), *body, request, respond);
}

Status ReadCommon(const Json& body, RerankCall* call) {
  RERANKD_ASSIGN_OR_RETURN(call->query, RequiredString(body, "query"));
  RERANKD_ASSIGN_OR_RETURN(call->top_n, OptionalCount(body, "top_n", 0));
  RERANKD_ASSIGN_OR_RETURN(call->raw_scores, OptionalBool(body, "raw_scores", false));
  return {};
}

Status ReadDocuments(const Json& body, RerankCall* call) {
  std::vector<std::string> fields = {"text"};
  if (Find(body, "rank_fields") != nullptr) {
    RERANKD_ASSIGN_OR_RETURN(fields, RequiredStrings(body, "rank_fields"));
    if (fields.empty()) return InvalidArgument("`rank_fields` is empty: name at least one field");
  }
  const Json* documents = Find(body, "documents");
  if (documents == nullptr) return InvalidArgument("`documents` is missing");
  if (!documents->is_array()) return InvalidArgument("`documents` must be a list");
  if (documents->empty()) return InvalidArgument("`documents` is empty: send at least 1 document");
  call->documents.reserve(documents->size());
  for (const Json& document : *documents) {
    const std::string name = "documents[" + std::to_string(call->documents.size()) + "]";
    RERANKD_ASSIGN_OR_RETURN(std::string text, DocumentText(document, fields, name));
    call->documents.push_back(std::move(text));
  }
  return {};
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

void RespondWith(const Respond& respond, HttpReply reply) {
  respond([reply = std::move(reply)] { return reply; });
}

void RespondError(const Respond& respond, ErrorBody body, Failure failure) {
  RespondWith(respond, ErrorReply(body, failure));
}

}  // namespace rerankd::serving
