// Turns documents of a job into encoded pairs: the work of a tokenizer thread. Thread-safe.
#pragma once

#include "base/status.h"
#include "core/tokenizer.h"
#include "scheduler/job.h"

namespace rerankd {

class PairEncoder {
 public:
  virtual ~PairEncoder() = default;
  // Encodes the documents of `slice` into slice->encoded and fills tokens, truncated and pairs of its job for
  // them.
  Status Encode(Slice* slice) const;

 private:
  virtual Status Append(Job* job, int document, EncodedPairs* out) const = 0;
};

// With a real tokenizer; a query is encoded once per request, when its first document needs it.
class TokenizingEncoder final : public PairEncoder {
 public:
  explicit TokenizingEncoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

 private:
  Status Append(Job* job, int document, EncodedPairs* out) const override;
  const Tokenizer* tokenizer_;
};

// Pipeline mode inference_only: no tokenizer. Every pair of a request has length
// clamp((characters of the first query + document) / 4, 1, max_length), ids below 1000 that depend on the
// document's index alone, and type 0.
class SyntheticEncoder final : public PairEncoder {
 private:
  Status Append(Job* job, int document, EncodedPairs* out) const override;
};

}  // namespace rerankd
