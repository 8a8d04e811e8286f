#include "serving/http/rerank.h"

#include <memory>
#include <utility>

#include "core/scoring.h"
#include "serving/http/score.h"

namespace rerankd::serving {
namespace {

Result<HttpReply> MakeReply(const Dialect& dialect, const RerankCall& call, const Answer& answer,
                            const std::string& model) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores, RelevanceScores(answer.result, call.raw_scores));
  const std::vector<int> order = RankDescending(scores, call.top_n);
  HttpReply reply;
  reply.body = Dump(dialect.format({call, answer.result, scores, order, model}));
  return reply;
}

void RerankBody(const Call& call, const Dialect& dialect, const Json& body) {
  Dialect::Parsed parsed = dialect.parse(body, call.request);
  if (const auto* failure = std::get_if<Failure>(&parsed)) return call.Refuse(*failure);
  const auto asked = std::make_shared<const RerankCall>(std::get<RerankCall>(std::move(parsed)));
  ScoreRequest score = ScoreRequest::ForQuery(asked->query, asked->documents);
  score.pair_options = asked->limits.pair;
  score.overflow = asked->limits.overflow;
  SubmitRelevanceCall(call, asked->model, std::move(score),
                      [&dialect, asked](const Answer& answer, const ModelInfo& model) {
                        return MakeReply(dialect, *asked, answer, model.name);
                      });
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
  const Call call = {service, route, dialect.error, request, respond};
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return call.Refuse({body.status(), 400});
  RerankBody(call, dialect, *body);
}

void RerankByKeys(ScoreService& service, std::string_view route, HttpRequest& request,
                  const Respond& respond) {
  const Call tei = {service, route, TeiDialect().error, request, respond};
  const Result<Json> body = ParseObject(request.body);
  if (!body.ok()) return tei.Refuse({body.status(), 400});
  const bool texts = Find(*body, "texts") != nullptr;
  const bool documents = Find(*body, "documents") != nullptr;
  const bool pairs = Find(*body, "text_pairs") != nullptr;
  if (texts + documents + pairs != 1)
    return tei.Refuse(
        {InvalidArgument("the body must have exactly one of `texts` (TEI), `documents` (infinity, "
                         "Jina) and `text_pairs` (SageMaker)")});
  if (texts) return RerankBody(tei, TeiDialect(), *body);
  if (pairs) return ScoreTextPairs(tei, *body);
  RerankBody({service, route, InfinityDialect().error, request, respond}, InfinityDialect(), *body);
}

Status ReadCommon(const Json& body, RerankCall* call) {
  RERANKD_ASSIGN_OR_RETURN(call->query, RequiredString(body, "query"));
  RERANKD_ASSIGN_OR_RETURN(call->model, OptionalString(body, "model", ""));
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

}  // namespace rerankd::serving
