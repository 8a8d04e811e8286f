#include "serving/metrics/reference_metrics.h"

#include <algorithm>
#include <utility>

namespace rerankd::serving {
namespace {

constexpr auto kWindow = std::chrono::seconds(1);
constexpr size_t kWindowRequests = 200;
constexpr auto kRunningFor = std::chrono::seconds(2);
constexpr auto kBusyWindow = std::chrono::seconds(10);

void KeepIfPositive(double value, double* last) {
  if (value > 0) *last = value;
}

double Mean(double sum, int64_t count) { return count > 0 ? sum / static_cast<double>(count) : 0; }

// Busy milliseconds of one second, in percent.
double Utilization(double inference_ms) { return std::min(100.0, inference_ms / 10); }

}  // namespace

double PaddingPercent(const TokenCounts& counts) {
  const double padded = static_cast<double>(counts.longest) * counts.pairs;
  return padded > 0 ? (padded - static_cast<double>(counts.real)) / padded * 100 : 0;
}

ReferenceMetrics::ReferenceMetrics(const Clock& clock) : clock_(clock), start_(clock.Now()) {}

void ReferenceMetrics::Record(const RequestRecord& r) {
  const double padding = PaddingPercent(r.counts);
  std::lock_guard lock(mutex_);
  const TimePoint now = clock_.Now();
  kept_.push_back({now, r.latency_ms, r.timings.tokenize_ms, r.timings.queue_ms, r.timings.inference_ms,
                   r.counts.real, r.pairs, r.worker});
  if (kept_.size() > kKeptRequests) kept_.pop_front();

  ++sums_.requests;
  sums_.pairs += r.pairs;
  sums_.truncated_pairs += r.counts.truncated_pairs;
  sums_.real_tokens += r.counts.real;
  sums_.computed_tokens += r.counts.computed;
  sums_.latency_ms += r.latency_ms;
  sums_.tokenize_ms += r.timings.tokenize_ms;
  sums_.queue_wait_ms += r.timings.queue_ms;
  sums_.inference_ms += r.timings.inference_ms;
  sums_.padding_pct += padding;

  KeepIfPositive(r.timings.tokenize_ms, &last_.tokenize_ms);
  KeepIfPositive(r.timings.inference_ms, &last_.inference_ms);
  KeepIfPositive(r.timings.queue_ms, &last_.queue_wait_ms);
  KeepIfPositive(padding, &last_.padding_pct);
  if (r.counts.longest > 0) {
    last_.longest = r.counts.longest;
    last_.mean_length = Mean(static_cast<double>(r.counts.real), r.pairs);
  }
  if (r.worker >= 0) {
    WorkerTotals& worker = workers_.try_emplace(r.worker, WorkerTotals{now}).first->second;
    ++worker.requests;
    worker.pairs += r.pairs;
  }
}

void ReferenceMetrics::Sample(const SystemSample& system) {
  std::lock_guard lock(mutex_);
  const TimePoint now = clock_.Now();
  system_ = system;
  busy_.push_back({now, system.busy_ms});
  while (busy_.size() > 2 && now - busy_.front().at > kBusyWindow) busy_.pop_front();
  if (!IsRunning(now) || sums_.requests == count_at_last_point_) return;
  count_at_last_point_ = sums_.requests;
  history_.push_back(MakePoint(now));
  if (history_.size() > kKeptPoints) history_.pop_front();
}

void ReferenceMetrics::Reset() {
  std::lock_guard lock(mutex_);
  start_ = clock_.Now();
  kept_.clear();
  workers_.clear();
  busy_.clear();
  history_.clear();
  count_at_last_point_ = 0;
  sums_ = {};
  last_ = {};
}

MetricsSnapshot ReferenceMetrics::Snapshot() const {
  MetricsSnapshot out;
  std::vector<Kept> kept;
  {
    std::lock_guard lock(mutex_);
    FillValues(clock_.Now(), &out);
    kept.assign(kept_.begin(), kept_.end());
  }
  // Sorting happens outside the lock: Record must not wait for it.
  Describe(kept, &Kept::latency_ms, &out.latency);
  Describe(kept, &Kept::tokenize_ms, &out.tokenize);
  Describe(kept, &Kept::queue_wait_ms, &out.queue_wait);
  Describe(kept, &Kept::inference_ms, &out.inference);
  for (WorkerSummary& worker : out.workers) {
    std::vector<double> latencies;
    for (const Kept& request : kept)
      if (request.worker == worker.worker) latencies.push_back(request.latency_ms);
    worker.latency = serving::Describe(std::move(latencies));
  }
  return out;
}

// Percentiles from the kept requests; count and mean, which cover everything, stay as they are.
void ReferenceMetrics::Describe(const std::vector<Kept>& kept, double Kept::*field, Distribution* out) {
  std::vector<double> values;
  values.reserve(kept.size());
  for (const Kept& request : kept) values.push_back(request.*field);
  const Distribution of_kept = serving::Describe(std::move(values));
  *out = {out->count, out->avg, of_kept.p50, of_kept.p95, of_kept.p99};
}

void ReferenceMetrics::FillValues(TimePoint now, MetricsSnapshot* snapshot) const {
  MetricsSnapshot& out = *snapshot;
  const Window window = LastSecond(now);
  out.is_running = IsRunning(now);
  out.count = sums_.requests;
  out.query_count = sums_.pairs;
  out.latency = {sums_.requests, Mean(sums_.latency_ms, sums_.requests)};
  out.tokenize = {sums_.requests, Mean(sums_.tokenize_ms, sums_.requests)};
  out.queue_wait = {sums_.requests, Mean(sums_.queue_wait_ms, sums_.requests)};
  out.inference = {sums_.requests, Mean(sums_.inference_ms, sums_.requests)};
  out.instant_latency_ms = InstantLatency(window);
  out.throughput_qps = window.pairs;
  out.utilization_pct = Utilization(window.inference_ms);
  out.tokens_per_second = window.tokens;
  out.elapsed_s = ToSeconds(now - start_);
  out.avg_throughput_qps = out.elapsed_s > 0 ? static_cast<double>(sums_.pairs) / out.elapsed_s : 0;
  out.worker_utilization_pct = WorkerUtilization();
  out.last_tokenize_ms = last_.tokenize_ms;
  out.last_inference_ms = last_.inference_ms;
  out.last_queue_wait_ms = last_.queue_wait_ms;
  out.avg_padding_pct = Mean(sums_.padding_pct, sums_.requests);
  out.last_padding_pct = last_.padding_pct;
  out.last_max_seq_length = last_.longest;
  out.last_avg_seq_length = last_.mean_length;
  out.real_tokens = sums_.real_tokens;
  out.computed_tokens = sums_.computed_tokens;
  out.truncated_pairs = sums_.truncated_pairs;
  out.system = system_;
  out.history.assign(history_.begin(), history_.end());
  for (const auto& [id, totals] : workers_) {
    const double seconds = ToSeconds(now - totals.first);
    const double qps = seconds > 0 ? static_cast<double>(totals.pairs) / seconds : 0;
    out.workers.push_back({id, totals.requests, totals.pairs, qps, {}});
  }
}

bool ReferenceMetrics::IsRunning(TimePoint now) const {
  return !kept_.empty() && now - kept_.back().at < kRunningFor;
}

ReferenceMetrics::Window ReferenceMetrics::LastSecond(TimePoint now) const {
  Window window;
  for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
    if (now - it->at > kWindow || window.requests == static_cast<int64_t>(kWindowRequests)) break;
    ++window.requests;
    window.pairs += it->pairs;
    window.tokens += it->tokens;
    window.latency_ms += it->latency_ms;
    window.inference_ms += it->inference_ms;
  }
  return window;
}

double ReferenceMetrics::InstantLatency(const Window& window) const {
  if (window.requests > 0) return Mean(window.latency_ms, window.requests);
  return kept_.empty() ? 0 : kept_.back().latency_ms;
}

double ReferenceMetrics::WorkerUtilization() const {
  if (busy_.size() < 2 || system_.workers <= 0) return 0;
  const double wall_ms = ToMs(busy_.back().at - busy_.front().at) * system_.workers;
  return wall_ms > 0 ? (busy_.back().ms - busy_.front().ms) / wall_ms * 100 : 0;
}

HistoryPoint ReferenceMetrics::MakePoint(TimePoint now) const {
  const Window window = LastSecond(now);
  HistoryPoint point;
  point.timestamp = RoundTo(ToSeconds(now - start_), 1);
  point.latency_ms = RoundTo(InstantLatency(window), 2);
  point.throughput = window.pairs;
  point.queries = sums_.pairs;
  point.cpu_percent = RoundTo(system_.cpu_percent, 1);
  point.memory_mb = RoundTo(system_.memory_mb, 1);
  point.utilization_pct = RoundTo(Utilization(window.inference_ms), 1);
  point.queue_wait_ms = RoundTo(last_.queue_wait_ms, 2);
  point.tokenize_ms = RoundTo(last_.tokenize_ms, 2);
  point.inference_ms = RoundTo(last_.inference_ms, 2);
  point.padding_pct = RoundTo(last_.padding_pct, 1);
  point.tokenizer_queue = system_.tokenizer_queue;
  point.model_queue = system_.model_queue;
  return point;
}

}  // namespace rerankd::serving
