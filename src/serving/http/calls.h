// What the handlers of all scoring routes share: the fields that several dialects have, and the way from a
// ScoreRequest to a reply.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serving/http/http_types.h"
#include "serving/http/json.h"
#include "serving/score_service.h"

namespace rerankd::serving {

// A handler at work: where it is counted, how it fails, whom it answers.
struct Call {
  ScoreService& service;
  std::string_view route;  // label of the metrics
  ErrorBody error;
  const HttpRequest& request;
  const Respond& respond;

  // Counts the failure and answers with it.
  void Refuse(const Failure& failure) const;
};

// How much of long texts is scored, as far as the body says.
struct TextLimits {
  PairOptions pair = {.max_length = std::numeric_limits<int>::max()};
  OverflowOptions overflow;
};

// Both read `max_tokens_per_doc`, `max_tokens_per_query`, `max_chunks_per_doc`, `overflow`, `window`,
// `stride`. TEI's `truncate` (absent = the server's way; `overflow` wins over it) and `truncation_direction`.
Status ReadTeiLimits(const Json& body, TextLimits* limits);
// `truncate_prompt_tokens` and `truncation_side`, of the dialects that protect the query.
Status ReadDocumentLimits(const Json& body, TextLimits* limits);

// Makes the reply from a scored answer. Runs on an I/O thread or, for big requests, on the work pool.
using MakeAnswer = std::function<Result<HttpReply>(const Answer& answer, const ModelInfo& model)>;

// Chooses the model, adds deadline, caller and cancellation, submits, answers.
void SubmitCall(const Call& call, std::string_view model, ScoreRequest score, MakeAnswer make);
// The same, for replies of one relevance score a document: refuses models that have none.
void SubmitRelevanceCall(const Call& call, std::string_view model, ScoreRequest score, MakeAnswer make);

// A deadline from x-request-timeout-ms; kInvalidArgument if it is not a positive integer.
Result<std::optional<TimePoint>> RequestDeadline(const HttpRequest& request);

using TextPair = std::pair<std::string, std::string>;
// [query, document]; `name` stands in the error.
Result<TextPair> ReadPair(const Json& item, const std::string& name);

// A score a document as `activation` says: of models with one label, or with two (the log-odds of the
// second).
Result<std::vector<float>> ActivatedScores(const ScoreResult& result, Activation activation);

// Tokens of all documents, also of those that took the score of an equal one or of the cache: what a client
// sees does not depend on what was computed for others.
int64_t UsageTokens(const ScoreResult& result);

void RespondWith(const Respond& respond, HttpReply reply);
void RespondError(const Respond& respond, ErrorBody body, const Failure& failure);

int64_t UnixSeconds();

}  // namespace rerankd::serving
