// The currency between serving, engine and scheduler: one scoring request, its result, and its timings.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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

// What becomes of a document that does not fit.
enum class Overflow {
  kTruncate,   // it is cut, as PairOptions::truncation and truncate_left say
  kError,      // the request fails with kInvalidArgument, naming the document, its tokens and the bound
  kMaxWindow,  // it is scored in overlapping windows, the query whole in each, and gets the score of the best
};

Result<Overflow> ParseOverflow(std::string_view name);  // "truncate", "error", "max_window"

// Limits on texts, in tokens without the special ones. What is 0 or absent is the server's default
// (`documents.*`).
struct OverflowOptions {
  // Absent: kError where PairOptions::truncation is kError, else the server's default. A dialect sets it only
  // where its body says so (TEI's `truncate: true` is kTruncate). Present, it wins over
  // PairOptions::truncation.
  std::optional<Overflow> policy;
  int max_tokens_per_query = 0;  // the rest of the query is cut (kError: refused)
  int max_tokens_per_doc = 0;    // the rest of a document is not looked at (kError: refused)
  // kMaxWindow: a document longer than `window` tokens (0 = all the room that the query leaves) is scored in
  // windows that begin every `stride` tokens (0 = half a window).
  int window = 0;
  int stride = 0;
  int max_windows_per_doc =
      0;  // at most the server's; Cohere's max_chunks_per_doc. The rest is not looked at
};

// Documents to score, each against one of the queries. A query is encoded once, however many documents it
// has; equal documents of one query are scored once.
struct ScoreRequest {
  std::string model;  // as Engine::models() names it; empty = the default one; unknown = kNotFound
  std::vector<std::string> queries;
  std::vector<Document> documents;
  // max_length is lowered to the model's own limit; there is no other one unless it is set.
  PairOptions pair_options = {.max_length = std::numeric_limits<int>::max()};
  OverflowOptions overflow;
  std::optional<TimePoint> deadline;  // work still queued then is dropped with kDeadlineExceeded
  CancelFlag cancel;
  std::string tenant;  // fairness class (API key name); empty = the common one
  double weight = 1;   // share of this tenant against the others when they compete, by tokens

  static ScoreRequest ForQuery(std::string query, std::vector<std::string> documents);
  // One query for all documents, or one each.
  static ScoreRequest ForQueries(std::vector<std::string> queries, std::vector<std::string> documents);
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
  int64_t real = 0;      // tokens after truncation, of the pairs that were run
  int64_t computed = 0;  // tokens that the backend really ran, padding included
  int longest = 0;
  int truncated_pairs = 0;  // documents of which a part was not looked at
  int pairs = 0;            // that were run: every window counts, duplicates and cached scores do not
  int duplicates = 0;       // documents that share the score of an equal one
  int cached = 0;           // documents whose score came from the cache
};

struct ScoreResult {
  // [documents x num_labels]. Of a document in windows each label has its maximum over the windows.
  std::vector<float> logits;
  int num_labels = 1;
  std::vector<int32_t> tokens;     // per document, after truncation; of all its windows
  std::vector<uint8_t> truncated;  // per document: 1 if a part of its pair was not looked at
  Timings timings;
  TokenCounts counts;
  int worker = -1;  // worker that ran the first micro-batch
};

// Called exactly once per admitted request, on a completion thread; must be quick and must not throw.
using Completion = std::function<void(Result<ScoreResult>)>;

}  // namespace rerankd
