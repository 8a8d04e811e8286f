// Counters of a running scheduler: what metrics, dashboard and reports read.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/backend.h"

namespace rerankd {

// A histogram with fixed bounds: counts[i] = values up to bounds[i] and over the one before; the last =
// larger ones.
template <size_t N>
struct BucketCounts {
  std::array<int64_t, N + 1> counts{};
  double sum = 0;

  void Add(const std::array<double, N>& bounds, double value) {
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
    ++counts[static_cast<size_t>(bucket)];
    sum += value;
  }
};

inline constexpr std::array<double, 11> kBatchTokenBounds = {16,  32,  64,   96,   128,  192,
                                                             256, 512, 1024, 4096, 16384};
inline constexpr std::array<double, 8> kBatchFillBounds = {.125, .25, .375, .5, .625, .75, .875, 1};

// Cumulative since the start. One entry a worker thread.
struct WorkerStats {
  int instance = 0;
  int64_t requests = 0;  // requests that this worker took part in first
  int64_t pairs = 0;
  int64_t tokens = 0;         // real
  int64_t padded_tokens = 0;  // computed
  double multiply_adds = 0;   // 0 where the backend does not count them
  int64_t batches = 0;        // micro-batches, failed ones included
  double busy_ms = 0;
  bool alive = true;                                    // false: its backend was lost, it scores no more
  BucketCounts<kBatchTokenBounds.size()> batch_tokens;  // real tokens of a micro-batch
  BucketCounts<kBatchFillBounds.size()> batch_fill;     // of the preferred size of a micro-batch
};

// One bounded cache. Cumulative since the start but for the last three.
struct CacheStats {
  int64_t hits = 0, misses = 0;  // documents
  int64_t evicted = 0;           // entries
  int64_t entries = 0, bytes = 0;
  int64_t capacity_bytes = 0;  // 0 = the cache is off
};

struct EngineStats {
  std::vector<WorkerStats> workers;
  int64_t queued_requests = 0, queued_tokens = 0;    // admitted, not finished; estimates until tokenised
  int64_t tokenizer_queue = 0, model_queue = 0;      // requests waiting for a tokenizer thread / a worker
  int64_t rejected = 0, cancelled = 0, expired = 0;  // requests
  int64_t dropped_pairs = 0;        // never computed: their request was cancelled, expired or failed
  int64_t duplicate_documents = 0;  // scored once with an equal one
  int64_t extra_windows = 0;        // windows of a document after its first
  CacheStats document_cache;        // text -> token ids
  CacheStats score_cache;
  BackendUsage usage;                   // summed over workers
  double peak_multiply_adds_per_s = 0;  // of this machine, in the precision that runs; 0 = not measured
};

}  // namespace rerankd
