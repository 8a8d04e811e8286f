// The currency between serving, engine and scheduler: one scoring request, its result, and its timings.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "core/cancel.h"
#include "core/tokenizer.h"

namespace rerankd {

struct Document {
  std::string text;
  uint32_t query = 0;  // index into ScoreRequest::queries
};

// Documents to score, each against one of the queries. A query is encoded once, however many documents it
// has.
struct ScoreRequest {
  std::vector<std::string> queries;
  std::vector<Document> documents;
  PairOptions pair_options;           // max_length is lowered to the model's own limit
  std::optional<TimePoint> deadline;  // work still queued then is dropped with kDeadlineExceeded
  CancelFlag cancel;
  std::string tenant;  // fairness class (API key name); empty = the common one
  double weight = 1;   // share of this tenant against the others when they compete, by tokens

  static ScoreRequest ForQuery(std::string query, std::vector<std::string> documents);
  // Equal consecutive queries are stored once.
  static ScoreRequest ForPairs(std::vector<std::pair<std::string, std::string>> pairs);
};

// Milliseconds of one request. Definitions: docs/metrics.md.
struct Timings {
  double queue_ms = 0;      // accepted until a worker starts on the request
  double tokenize_ms = 0;   // encoding of its texts
  double inference_ms = 0;  // first worker start to last worker end
  double compute_ms = 0;    // time inside the model, summed over its micro-batches by share of tokens
  double total_ms = 0;      // accepted until the completion
};

// Counts that reports need. Padding is never computed by an unpadded backend: `longest * pairs` is what
// padding to the longest pair of this request would have cost.
struct TokenCounts {
  int64_t real = 0;      // tokens after truncation
  int64_t computed = 0;  // tokens that the backend really ran, padding included
  int longest = 0;
  int truncated_pairs = 0;
};

struct ScoreResult {
  std::vector<float> logits;  // [documents x num_labels]
  int num_labels = 1;
  std::vector<int32_t> tokens;     // per document, after truncation
  std::vector<uint8_t> truncated;  // per document, 0 or 1
  Timings timings;
  TokenCounts counts;
  int worker = -1;  // worker that ran the first micro-batch
};

// Called exactly once per admitted request, on a completion thread; must be quick and must not throw.
using Completion = std::function<void(Result<ScoreResult>)>;

}  // namespace rerankd
