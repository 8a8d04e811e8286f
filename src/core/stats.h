// Counters of a running scheduler: what metrics, dashboard and reports read.
#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"

namespace rerankd {

// Cumulative since the start. One entry a worker thread.
struct WorkerStats {
  int instance = 0;
  int64_t requests = 0;  // requests that this worker took part in first
  int64_t pairs = 0;
  int64_t tokens = 0;         // real
  int64_t padded_tokens = 0;  // computed
  int64_t batches = 0;        // micro-batches, failed ones included
  double busy_ms = 0;
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
  BackendUsage usage;  // summed over workers
};

}  // namespace rerankd
