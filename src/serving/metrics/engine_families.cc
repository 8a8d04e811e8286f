#include "serving/metrics/engine_families.h"

namespace rerankd::serving {
namespace {

using prometheus::MetricType;

double Number(int64_t n) { return static_cast<double>(n); }

double PaddingWaste(const EngineStats& stats) {
  double real = 0, computed = 0;
  for (const WorkerStats& w : stats.workers) {
    real += Number(w.tokens);
    computed += Number(w.padded_tokens);
  }
  return computed > 0 ? 1 - real / computed : 0;
}

void AddTotals(const EngineStats& e, Families* out) {
  out->Counter("rerankd_rejected_total", "Requests refused because the queue was full", Number(e.rejected),
               {});
  out->Counter("rerankd_cancelled_total", "Requests dropped because their client left", Number(e.cancelled),
               {});
  out->Counter("rerankd_expired_total", "Requests dropped because their deadline passed", Number(e.expired),
               {});
  out->Counter("rerankd_dropped_pairs_total",
               "Pairs never computed: their request was cancelled, expired or failed",
               Number(e.dropped_pairs), {});
  out->Counter("rerankd_duplicate_documents_total", "Documents that took the score of an equal one",
               Number(e.duplicate_documents), {});
  out->Counter("rerankd_extra_windows_total", "Windows of long documents after their first",
               Number(e.extra_windows), {});
}

void AddGauges(const EngineStats& e, Families* out) {
  out->Gauge("rerankd_queue_requests", "Requests admitted and not scored", Number(e.queued_requests), {});
  out->Gauge("rerankd_queue_tokens", "Tokens admitted and not scored, estimates until they are counted",
             Number(e.queued_tokens), {});
  out->Gauge("rerankd_tokenizer_queue_requests", "Requests waiting for a tokenizer",
             Number(e.tokenizer_queue), {});
  out->Gauge("rerankd_model_queue_requests", "Requests waiting for a worker", Number(e.model_queue), {});
  out->Gauge("rerankd_device_memory_bytes", "Device memory of the models, 0 on a CPU",
             Number(e.usage.device_bytes), {});
  if (e.usage.device_utilization >= 0)
    out->Gauge("rerankd_device_utilization_ratio", "As the device reports it", e.usage.device_utilization,
               {});
  out->Gauge(
      "rerankd_peak_multiply_adds_per_second",
      "What this machine can do at most in the precision that runs, measured at the start; 0 = not measured",
      e.peak_multiply_adds_per_s, {});
  out->Gauge("rerankd_padding_waste_ratio", "(computed - real) / computed tokens since the start",
             PaddingWaste(e), {});
}

void AddCaches(const EngineStats& e, Families* out) {
  const auto add = [&](MetricType type, const char* name, const char* help, int64_t CacheStats::*field) {
    out->Begin(type, name, help);
    out->Point(Number(e.document_cache.*field), {{"cache", "documents"}});
    out->Point(Number(e.score_cache.*field), {{"cache", "scores"}});
  };
  add(MetricType::Counter, "rerankd_cache_hits_total", "Documents found in the cache", &CacheStats::hits);
  add(MetricType::Counter, "rerankd_cache_misses_total", "Documents not found in the cache",
      &CacheStats::misses);
  add(MetricType::Counter, "rerankd_cache_evicted_total", "Entries that made room for others",
      &CacheStats::evicted);
  add(MetricType::Gauge, "rerankd_cache_entries", "Entries in the cache", &CacheStats::entries);
  add(MetricType::Gauge, "rerankd_cache_bytes", "Memory of the entries", &CacheStats::bytes);
  add(MetricType::Gauge, "rerankd_cache_capacity_bytes", "Bound of that memory, 0 = the cache is off",
      &CacheStats::capacity_bytes);
}

// The labels of what belongs to an instance.
class InstanceLabels {
 public:
  explicit InstanceLabels(const Engine& engine) : engine_(engine) {}

  MetricLabels Of(int instance) const {
    const auto& instances = engine_.instances();
    const auto i = static_cast<size_t>(instance);
    const size_t model = i < instances.size() ? static_cast<size_t>(instances[i].model) : 0;
    return {{"model", engine_.models()[model].name}, {"instance", std::to_string(instance)}};
  }
  MetricLabels OfWorker(int instance, size_t worker) const {
    MetricLabels labels = Of(instance);
    labels["worker"] = std::to_string(worker);
    return labels;
  }

 private:
  const Engine& engine_;
};

void AddWorkers(const InstanceLabels& labels, const EngineStats& stats, Families* out) {
  const auto add = [&](const char* name, const char* help, auto value) {
    out->Begin(MetricType::Counter, name, help);
    for (size_t i = 0; i < stats.workers.size(); ++i)
      out->Point(value(stats.workers[i]), labels.OfWorker(stats.workers[i].instance, i));
  };
  using W = const WorkerStats&;
  add("rerankd_worker_busy_seconds_total", "Time that a worker spent scoring",
      [](W w) { return w.busy_ms / 1000; });
  add("rerankd_worker_batches_total", "Micro-batches, failed ones included",
      [](W w) { return Number(w.batches); });
  add("rerankd_worker_pairs_total", "Pairs scored", [](W w) { return Number(w.pairs); });
  add("rerankd_worker_tokens_total", "Real tokens scored", [](W w) { return Number(w.tokens); });
  add("rerankd_worker_padded_tokens_total", "Tokens computed, padding included",
      [](W w) { return Number(w.padded_tokens); });
  add("rerankd_worker_multiply_adds_total", "Multiply-adds of the native engine",
      [](W w) { return w.multiply_adds; });
}

template <typename Buckets>
void Add(const Buckets& from, Buckets* to) {
  for (size_t i = 0; i < from.counts.size(); ++i) to->counts[i] += from.counts[i];
  to->sum += from.sum;
}

void AddBatches(const InstanceLabels& labels, const EngineStats& stats, Families* out) {
  std::map<int, WorkerStats> instances;
  for (const WorkerStats& worker : stats.workers) {
    Add(worker.batch_tokens, &instances[worker.instance].batch_tokens);
    Add(worker.batch_fill, &instances[worker.instance].batch_fill);
  }
  out->Begin(MetricType::Histogram, "rerankd_batch_tokens", "Real tokens of a micro-batch");
  for (const auto& [instance, sum] : instances)
    out->Histogram(kBatchTokenBounds, sum.batch_tokens, labels.Of(instance));
  out->Begin(MetricType::Histogram, "rerankd_batch_fill_ratio",
             "Real tokens of a micro-batch / the backend's preferred ones");
  for (const auto& [instance, sum] : instances)
    out->Histogram(kBatchFillBounds, sum.batch_fill, labels.Of(instance));
}

void AddInstances(const Engine& engine, const InstanceLabels& labels,
                  const std::map<int, double>& utilization, Families* out) {
  out->Begin(MetricType::Gauge, "rerankd_instance_info", "1; the labels say what runs");
  for (const InstanceInfo& instance : engine.instances()) {
    MetricLabels all = labels.Of(instance.id);
    all["name"] = instance.name;
    all["backend"] = instance.caps.name;
    all["device"] = instance.caps.device;
    all["precision"] = instance.caps.precision;
    out->Point(1, all);
  }
  out->Begin(MetricType::Gauge, "rerankd_instance_utilization_ratio",
             "Busy share of the instance's workers over the last 10 s");
  for (const auto& [instance, share] : utilization) out->Point(share, labels.Of(instance));
}

}  // namespace

void AddEngineFamilies(const Engine& engine, const EngineStats& stats,
                       const std::map<int, double>& utilization, Families* out) {
  const InstanceLabels labels(engine);
  AddTotals(stats, out);
  AddGauges(stats, out);
  AddCaches(stats, out);
  AddWorkers(labels, stats, out);
  AddBatches(labels, stats, out);
  AddInstances(engine, labels, utilization, out);
}

}  // namespace rerankd::serving
