// text-embeddings-inference: POST /rerank with `texts`.
#include "serving/error_map.h"
#include "serving/http/rerank.h"

namespace rerankd::serving {
namespace {

std::string TeiError(const Failure& failure) {
  const std::string_view type =
      failure.tei_type.empty() ? TeiErrorType(failure.status.code()) : failure.tei_type;
  return Dump({{"error", ClientMessage(failure.status)}, {"error_type", std::string(type)}});
}

Status Read(const Json& body, RerankCall* call) {
  RERANKD_RETURN_IF_ERROR(ReadCommon(body, call));
  call->top_n = 0;  // TEI always returns every text
  RERANKD_ASSIGN_OR_RETURN(call->documents, RequiredStrings(body, "texts"));
  RERANKD_ASSIGN_OR_RETURN(call->return_documents, OptionalBool(body, "return_text", false));
  RERANKD_ASSIGN_OR_RETURN(call->return_tokens, OptionalBool(body, "return_tokens", false));
  return ReadTeiLimits(body, &call->limits);
}

Dialect::Parsed Parse(const Json& body, const HttpRequest&) {
  RerankCall call;
  if (const Status status = Read(body, &call); !status.ok()) return Failure{status};
  if (call.documents.empty()) return Failure{InvalidArgument("`texts` cannot be empty"), 400, "Empty"};
  for (const std::string& text : call.documents) {
    if (call.query.empty() && text.empty())
      return Failure{InvalidArgument("Input validation error: `inputs` cannot be empty"), 400, "Empty"};
  }
  return call;
}

Json Format(const RankedReply& reply) {
  Json ranks = Json::array();
  for (const int index : reply.order) {
    const auto i = static_cast<size_t>(index);
    Json rank = {{"index", index}};
    if (reply.call.return_documents) rank["text"] = reply.call.documents[i];
    rank["score"] = ScoreJson(reply.scores[i]);
    if (reply.call.return_tokens) {
      rank["tokens"] = reply.result.tokens[i];
      rank["truncated"] = reply.result.truncated[i] != 0;
    }
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

}  // namespace

const Dialect& TeiDialect() {
  static const Dialect dialect = {Parse, Format, TeiError};
  return dialect;
}

}  // namespace rerankd::serving
