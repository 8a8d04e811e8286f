// The numbers that the reference system shows about itself, by its definitions, over the requests since the
// last reset; and the honest token counts beside them. Knows nothing of JSON or of the engine. Thread-safe;
// Record is O(1). Memory is bounded: percentiles cover the latest kKeptRequests requests, history the latest
// kKeptPoints points; counts and means cover everything.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "core/request.h"
#include "serving/metrics/statistics.h"

namespace rerankd::serving {

// One answered request.
struct RequestRecord {
  double latency_ms = 0;  // handler entry until the reply is made
  int pairs = 0;
  int worker = -1;
  Timings timings;
  TokenCounts counts;
};

// What padding every pair that was run to the longest of its request would waste, in percent of the padded
// tokens.
double PaddingPercent(const TokenCounts& counts);

// State of the process at one moment.
struct SystemSample {
  double cpu_percent = 0;  // 100 = one core
  double memory_mb = 0;
  double busy_ms = 0;  // of all workers since the start
  int workers = 0;
  int64_t tokenizer_queue = 0, model_queue = 0;  // requests
};

// One row of the time series, rounded as the reference system stores it.
struct HistoryPoint {
  double timestamp = 0;  // seconds since the reset
  double latency_ms = 0;
  int64_t throughput = 0;
  int64_t queries = 0;
  double cpu_percent = 0, memory_mb = 0, utilization_pct = 0;
  double queue_wait_ms = 0, tokenize_ms = 0, inference_ms = 0, padding_pct = 0;
  int64_t tokenizer_queue = 0, model_queue = 0;  // not in the reference system
};

// Requests that this worker started. Latency is that of the whole request.
struct WorkerSummary {
  int worker = 0;
  int64_t requests = 0, pairs = 0;
  double throughput_qps = 0;  // pairs per second since its first request
  Distribution latency;
};

struct MetricsSnapshot {
  bool is_running = false;
  int64_t count = 0;                                      // requests
  int64_t query_count = 0;                                // pairs
  Distribution latency, tokenize, queue_wait, inference;  // ms

  // Over the last second of completions, the latest 200 at most.
  double instant_latency_ms = 0;
  int64_t throughput_qps = 0;  // pairs completed
  double utilization_pct = 0;  // inference milliseconds per second, in percent, at most 100
  int64_t tokens_per_second = 0;

  double avg_throughput_qps = 0;      // pairs per second since the reset
  double worker_utilization_pct = 0;  // measured busy share of all workers, over up to 10 s
  double last_tokenize_ms = 0, last_inference_ms = 0, last_queue_wait_ms = 0;
  double avg_padding_pct = 0, last_padding_pct = 0;  // PaddingPercent: mean of requests, latest
  int last_max_seq_length = 0;
  double last_avg_seq_length = 0;

  int64_t real_tokens = 0, computed_tokens = 0, truncated_pairs = 0;
  double elapsed_s = 0;  // since the reset
  SystemSample system;
  std::vector<HistoryPoint> history;
  std::vector<WorkerSummary> workers;
};

class ReferenceMetrics {
 public:
  static constexpr size_t kKeptRequests = 10'000;
  static constexpr size_t kKeptPoints = 20'000;

  explicit ReferenceMetrics(const Clock& clock);

  void Record(const RequestRecord& record);
  // Remembers the state of the system and appends a history point if one is due: requests are running and
  // their count has grown since the last point.
  void Sample(const SystemSample& system);
  void Reset();
  MetricsSnapshot Snapshot() const;

 private:
  struct Kept {
    TimePoint at;
    double latency_ms, tokenize_ms, queue_wait_ms, inference_ms;
    int64_t tokens;
    int pairs, worker;
  };
  struct Window {
    int64_t requests = 0, pairs = 0, tokens = 0;
    double latency_ms = 0, inference_ms = 0;  // sums
  };
  struct WorkerTotals {
    TimePoint first;
    int64_t requests = 0, pairs = 0;
  };
  struct Busy {
    TimePoint at;
    double ms;
  };
  struct Sums {
    int64_t requests = 0, pairs = 0, truncated_pairs = 0, real_tokens = 0, computed_tokens = 0;
    double latency_ms = 0, tokenize_ms = 0, queue_wait_ms = 0, inference_ms = 0, padding_pct = 0;
  };
  struct Last {
    double tokenize_ms = 0, inference_ms = 0, queue_wait_ms = 0, padding_pct = 0;
    int longest = 0;
    double mean_length = 0;
  };

  bool IsRunning(TimePoint now) const;
  Window LastSecond(TimePoint now) const;
  double InstantLatency(const Window& window) const;
  double WorkerUtilization() const;
  HistoryPoint MakePoint(TimePoint now) const;
  void FillValues(TimePoint now, MetricsSnapshot* snapshot) const;
  static void Describe(const std::vector<Kept>& kept, double Kept::*field, Distribution* out);

  const Clock& clock_;
  mutable std::mutex mutex_;
  TimePoint start_;
  std::deque<Kept> kept_;
  std::map<int, WorkerTotals> workers_;
  std::deque<Busy> busy_;
  std::deque<HistoryPoint> history_;
  int64_t count_at_last_point_ = 0;
  Sums sums_;
  Last last_;
  SystemSample system_;
};

}  // namespace rerankd::serving
