// Reranking over HTTP: one flow for every dialect. A dialect only reads a body and writes replies and errors.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "serving/http/calls.h"

namespace rerankd::serving {

// What a body asks for, in any dialect.
struct RerankCall {
  std::string query;
  std::vector<std::string> documents;
  int top_n = 0;  // 0 = all
  bool return_documents = false;
  bool raw_scores = false;
  bool return_tokens = false;  // TEI; the others always say tokens and truncation
  std::string model;           // as asked for
  TextLimits limits;
};

// A scored call, ready to be written.
struct RankedReply {
  const RerankCall& call;
  const ScoreResult& result;
  std::span<const float> scores;  // of all documents
  std::span<const int> order;     // indices, best first, cut to top_n
  const std::string& model;
};

struct Dialect {
  // What went wrong carries its HTTP status, 422 by default.
  using Parsed = std::variant<RerankCall, Failure>;
  Parsed (*parse)(const Json& body, const HttpRequest& request);
  Json (*format)(const RankedReply& reply);
  ErrorBody error;
};

const Dialect& TeiDialect();       // `texts`: a bare array of index and score
const Dialect& InfinityDialect();  // /rerank with `documents`
const Dialect& UnionDialect();     // /v1/rerank: Jina, Cohere v1, vLLM, llama.cpp in one object
const Dialect& CohereDialect();    // /v2/rerank

// Parses, submits, answers. `route` labels the metrics.
void Rerank(ScoreService& service, std::string_view route, const Dialect& dialect, HttpRequest& request,
            const Respond& respond);
// The same for a body whose keys choose the dialect: `texts` -> TEI, `documents` -> infinity, `text_pairs` ->
// SageMaker.
void RerankByKeys(ScoreService& service, std::string_view route, HttpRequest& request,
                  const Respond& respond);

// Fields that dialects share: query, model, top_n, raw_scores.
Status ReadCommon(const Json& body, RerankCall* call);
// `documents`: strings, or objects whose text is in `text` or in the fields that `rank_fields` names.
Status ReadDocuments(const Json& body, RerankCall* call);

}  // namespace rerankd::serving
