// The dialects whose body has `documents`: infinity on /rerank; Jina, Cohere v1, vLLM and llama.cpp as one
// union object on /v1/rerank; Cohere v2 on /v2/rerank. They protect the query: only documents are truncated.
#include "serving/error_map.h"
#include "serving/http/rerank.h"
#include "serving/request_id.h"

namespace rerankd::serving {
namespace {

enum class DocumentShape { kString, kObject, kNever };

// Every spelling of an error that clients of these APIs read: `error.message` (infinity, vLLM), `message`
// (Cohere), `detail` (Jina; a list in FastAPI's 422).
std::string DocumentsError(const Failure& failure) {
  const int http = HttpStatusOf(failure);
  const std::string message = ClientMessage(failure.status);
  Json detail = message;
  if (http == 422)
    detail = Json::array({{{"loc", Json::array({"body"})}, {"msg", message}, {"type", "value_error"}}});
  return Dump({{"message", message},
               {"detail", std::move(detail)},
               {"error", {{"message", message}, {"type", nullptr}, {"param", nullptr}, {"code", http}}}});
}

// Cohere's v1 rule (absent = false) for callers that can only be its clients, Jina's (absent = true)
// otherwise.
bool LooksLikeCohere(const Json& body, const HttpRequest& request) {
  if (Find(body, "rank_fields") != nullptr || Find(body, "max_chunks_per_doc") != nullptr) return true;
  for (const auto& [name, value] : request.headers)
    if (name.rfind("x-fern-", 0) == 0) return true;
  return false;
}

Status Read(const Json& body, bool return_by_default, RerankCall* call) {
  RERANKD_RETURN_IF_ERROR(ReadCommon(body, call));
  RERANKD_RETURN_IF_ERROR(ReadDocuments(body, call));
  RERANKD_ASSIGN_OR_RETURN(call->return_documents, OptionalBool(body, "return_documents", return_by_default));
  RERANKD_ASSIGN_OR_RETURN(const bool activate, OptionalBool(body, "use_activation", !call->raw_scores));
  call->raw_scores = !activate;
  return ReadDocumentLimits(body, &call->limits);
}

Dialect::Parsed Parsed(const Json& body, bool return_by_default) {
  RerankCall call;
  if (const Status status = Read(body, return_by_default, &call); !status.ok()) return Failure{status};
  return call;
}

Dialect::Parsed ParseInfinity(const Json& body, const HttpRequest&) { return Parsed(body, false); }
Dialect::Parsed ParseUnion(const Json& body, const HttpRequest& request) {
  return Parsed(body, !LooksLikeCohere(body, request));
}
Dialect::Parsed ParseCohere(const Json& body, const HttpRequest&) { return Parsed(body, false); }

Json Results(const RankedReply& reply, DocumentShape shape) {
  Json results = Json::array();
  for (const int index : reply.order) {
    const auto i = static_cast<size_t>(index);
    Json result = {{"index", index}, {"relevance_score", ScoreJson(reply.scores[i])}};
    const std::string& text = reply.call.documents[i];
    if (shape == DocumentShape::kString)
      result["document"] = reply.call.return_documents ? Json(text) : Json();
    if (shape == DocumentShape::kObject && reply.call.return_documents) result["document"]["text"] = text;
    result["tokens"] = reply.result.tokens[i];
    result["truncated"] = reply.result.truncated[i] != 0;
    results.push_back(std::move(result));
  }
  return results;
}

Json Usage(const RankedReply& reply) {
  const int64_t tokens = UsageTokens(reply.result);
  return {{"prompt_tokens", tokens}, {"total_tokens", tokens}};
}

Json Meta(const RankedReply& reply, const char* version) {
  const size_t search_units = (reply.call.documents.size() + 99) / 100;  // one per 100 documents
  Json meta = {{"api_version", {{"version", version}}},
               {"billed_units", {{"search_units", search_units}}},
               {"tokens", {{"input_tokens", UsageTokens(reply.result)}, {"output_tokens", 0}}}};
  const int cut = reply.result.counts.truncated_pairs;
  if (cut > 0)
    meta["warnings"] = Json::array({std::to_string(cut) + " documents are too long and were read in part"});
  return meta;
}

Json FormatInfinity(const RankedReply& reply) {
  return {{"object", "rerank"},         {"results", Results(reply, DocumentShape::kString)},
          {"model", reply.model},       {"usage", Usage(reply)},
          {"id", "rerankd-" + NewId()}, {"created", UnixSeconds()}};
}

Json FormatUnion(const RankedReply& reply) {
  return {{"id", NewId()},
          {"model", reply.model},
          {"object", "rerank"},
          {"usage", Usage(reply)},
          {"meta", Meta(reply, "1")},
          {"results", Results(reply, DocumentShape::kObject)}};
}

Json FormatCohere(const RankedReply& reply) {
  return {{"id", NewId()}, {"results", Results(reply, DocumentShape::kNever)}, {"meta", Meta(reply, "2")}};
}

}  // namespace

const Dialect& InfinityDialect() {
  static const Dialect dialect = {ParseInfinity, FormatInfinity, DocumentsError};
  return dialect;
}

const Dialect& UnionDialect() {
  static const Dialect dialect = {ParseUnion, FormatUnion, DocumentsError};
  return dialect;
}

const Dialect& CohereDialect() {
  static const Dialect dialect = {ParseCohere, FormatCohere, DocumentsError};
  return dialect;
}

}  // namespace rerankd::serving
