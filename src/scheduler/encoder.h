// Turns units of a job into rows: the work of a tokenizer thread. Thread-safe.
#pragma once

#include <span>

#include "base/status.h"
#include "core/tokenizer.h"
#include "scheduler/caches.h"
#include "scheduler/job.h"

namespace rerankd {

class PairEncoder {
 public:
  virtual ~PairEncoder() = default;
  // Encodes the units of `slice` into slice->encoded and fills tokens, truncated and cached of its job for
  // them. A unit whose score is cached gets it and no row.
  Status Encode(Slice* slice) const;

 private:
  virtual Status Append(Job* job, int unit, EncodedPairs* out) const = 0;
};

// With a real tokenizer; a query is encoded once per request, when its first document needs it.
class TokenizingEncoder final : public PairEncoder {
 public:
  // `caches` may be null; both outlive this. `tokenizer_id` tells tokenizers apart that share `caches`.
  explicit TokenizingEncoder(const Tokenizer* tokenizer, Caches* caches = nullptr, int tokenizer_id = 0)
      : tokenizer_(tokenizer), caches_(caches), tokenizer_id_(tokenizer_id) {}

 private:
  Status Append(Job* job, int unit, EncodedPairs* out) const override;
  bool TakeCached(Job* job, int unit, const EncodedQuery& query) const;
  void EncodeQuery(const Job& job, uint32_t index, EncodedQuery* query) const;
  void EncodeDocument(const std::string& text, bool escape_special, std::vector<int32_t>* ids) const;
  Result<bool> AppendWindows(const Job& job, std::span<const int32_t> query,
                             std::span<const int32_t> document, EncodedPairs* out) const;

  const Tokenizer* tokenizer_;
  Caches* const caches_;
  const int tokenizer_id_;
};

// Pipeline mode inference_only: no tokenizer. Every pair of a request has length
// clamp((characters of the first query + document) / 4, 1, max_length), ids below 1000 that depend on the
// document's index alone, and type 0.
class SyntheticEncoder final : public PairEncoder {
 private:
  Status Append(Job* job, int unit, EncodedPairs* out) const override;
};

}  // namespace rerankd
