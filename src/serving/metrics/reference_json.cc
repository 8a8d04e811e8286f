#include "serving/metrics/reference_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace rerankd::serving {
namespace {

using Json = nlohmann::ordered_json;

Json StageJson(const Distribution& d) {
  return {{"p50_ms", d.p50}, {"p95_ms", d.p95}, {"p99_ms", d.p99}, {"avg_ms", d.avg}, {"count", d.count}};
}

Json StagePercentages(const MetricsSnapshot& m) {
  const auto share = [&](double ms) { return m.latency.avg > 0 ? RoundTo(ms / m.latency.avg * 100, 1) : 0; };
  const double tokenize = share(m.tokenize.avg);
  const double queue_wait = share(m.queue_wait.avg);
  const double inference = share(m.inference.avg);
  const double other = RoundTo(std::max(0.0, 100 - tokenize - queue_wait - inference), 1);
  return {{"tokenize_pct", tokenize},
          {"queue_wait_pct", queue_wait},
          {"inference_pct", inference},
          {"other_pct", other}};
}

template <typename T>
Json Column(const std::vector<HistoryPoint>& history, T HistoryPoint::*field) {
  Json column = Json::array();
  for (const HistoryPoint& point : history) column.push_back(point.*field);
  return column;
}

Json HistoryJson(const std::vector<HistoryPoint>& history) {
  using P = HistoryPoint;
  return {{"timestamps", Column(history, &P::timestamp)},
          {"latencies", Column(history, &P::latency_ms)},
          {"throughput", Column(history, &P::throughput)},
          {"queries", Column(history, &P::queries)},
          {"cpu_percent", Column(history, &P::cpu_percent)},
          {"gpu_memory_mb", Column(history, &P::memory_mb)},
          {"gpu_utilization_pct", Column(history, &P::utilization_pct)},
          {"queue_wait_ms", Column(history, &P::queue_wait_ms)},
          {"tokenize_ms", Column(history, &P::tokenize_ms)},
          {"inference_ms", Column(history, &P::inference_ms)},
          {"padding_pct", Column(history, &P::padding_pct)}};
}

// Columns beside those of the reference system.
Json OwnHistoryJson(const std::vector<HistoryPoint>& history) {
  return {{"tokenizer_queue_size", Column(history, &HistoryPoint::tokenizer_queue)},
          {"model_queue_size", Column(history, &HistoryPoint::model_queue)}};
}

Json WorkersJson(const std::vector<WorkerSummary>& workers) {
  Json list = Json::array();
  for (const WorkerSummary& w : workers) {
    list.push_back({{"worker_id", w.worker},
                    {"avg_ms", w.latency.avg},
                    {"p50_ms", w.latency.p50},
                    {"p95_ms", w.latency.p95},
                    {"p99_ms", w.latency.p99},
                    {"query_count", w.pairs},
                    {"request_count", w.requests},
                    {"throughput_qps", w.throughput_qps}});
  }
  return list;
}

Json QueueSizes(const EngineStats& engine) {
  return {{"tokenizer_queue_size", engine.tokenizer_queue},
          {"model_queue_size", engine.model_queue},
          {"batch_queue_size", 0},
          {"total_queue_size", engine.tokenizer_queue + engine.model_queue}};
}

std::string ModelOf(const ServerIdentity& identity, const InstanceInfo& instance) {
  const auto model = static_cast<size_t>(instance.model);
  return model < identity.models.size() ? identity.models[model] : identity.model;
}

std::string ModelOf(const ServerIdentity& identity, int instance_id) {
  for (const InstanceInfo& instance : identity.instances)
    if (instance.id == instance_id) return ModelOf(identity, instance);
  return identity.model;
}

// What really happened, next to what the reference definitions show.
Json OwnJson(const ServerIdentity& identity, const MetricsSnapshot& m, const EngineStats& engine) {
  const double waste = m.computed_tokens > 0
                           ? 1 - static_cast<double>(m.real_tokens) / static_cast<double>(m.computed_tokens)
                           : 0;
  Json workers = Json::array();
  double multiply_adds = 0;
  for (const WorkerStats& w : engine.workers) {
    multiply_adds += w.multiply_adds;
    workers.push_back({{"instance", w.instance},
                       {"model", ModelOf(identity, w.instance)},
                       {"requests", w.requests},
                       {"pairs", w.pairs},
                       {"tokens", w.tokens},
                       {"padded_tokens", w.padded_tokens},
                       {"busy_ms", w.busy_ms}});
  }
  return {{"tokens",
           {{"real", m.real_tokens},
            {"computed", m.computed_tokens},
            {"padding_waste_ratio", waste},
            {"per_second", m.tokens_per_second},
            {"avg_per_second", m.elapsed_s > 0 ? static_cast<double>(m.real_tokens) / m.elapsed_s : 0},
            {"truncated_pairs", m.truncated_pairs}}},
          {"multiply_adds", multiply_adds},
          {"peak_multiply_adds_per_s", engine.peak_multiply_adds_per_s},
          {"worker_utilization_pct", m.worker_utilization_pct},
          {"elapsed_s", m.elapsed_s},
          {"queued_requests", engine.queued_requests},
          {"queued_tokens", engine.queued_tokens},
          {"rejected", engine.rejected},
          {"cancelled", engine.cancelled},
          {"expired", engine.expired},
          {"workers", std::move(workers)}};
}

void AddRequestValues(const ServerIdentity& identity, const MetricsSnapshot& m, const EngineStats& engine,
                      Json* json) {
  Json& j = *json;
  j["instant_latency_ms"] = m.instant_latency_ms;
  j["avg_ms"] = m.latency.avg;
  j["p50_ms"] = m.latency.p50;
  j["p95_ms"] = m.latency.p95;
  j["p99_ms"] = m.latency.p99;
  j["throughput_qps"] = m.throughput_qps;
  j["avg_throughput_qps"] = m.avg_throughput_qps;
  j["cpu_percent"] = m.system.cpu_percent;
  j["gpu_memory_mb"] = m.system.memory_mb;
  j["gpu_utilization_pct"] = m.utilization_pct;
  j["instance_metrics"] = {{"avg_utilization_pct", m.worker_utilization_pct}};
  j["stage_breakdown"] = {{"tokenize", StageJson(m.tokenize)},
                          {"queue_wait", StageJson(m.queue_wait)},
                          {"model_inference", StageJson(m.inference)}};
  j["stage_percentages"] = StagePercentages(m);
  j["last_tokenize_ms"] = m.last_tokenize_ms;
  j["last_inference_ms"] = m.last_inference_ms;
  j["last_queue_wait_ms"] = m.last_queue_wait_ms;
  j["queue_wait_analysis"] = {{"avg_ms", m.queue_wait.avg}, {"p95_ms", m.queue_wait.p95}};
  j["padding_analysis"] = {{"avg_padding_pct", m.avg_padding_pct},
                           {"last_padding_pct", m.last_padding_pct},
                           {"last_max_seq_length", m.last_max_seq_length},
                           {"last_avg_seq_length", m.last_avg_seq_length}};
  j["worker_stats"] = WorkersJson(m.workers);
  j["queue_sizes"] = QueueSizes(engine);
  j["rerankd"] = OwnJson(identity, m, engine);
}

Json WithoutHistory(const ServerIdentity& identity, const MetricsSnapshot& m, const EngineStats& engine) {
  Json j = {{"experiment_name", identity.experiment_name},
            {"experiment_description", identity.experiment_description},
            {"backend_type", identity.backend_type},
            {"device", identity.device},
            {"is_running", m.is_running}};
  if (m.count > 0) {
    j["pipeline_mode"] = identity.pipeline_mode;
    j["count"] = m.count;
  }
  j["query_count"] = m.query_count;
  if (m.count > 0) {
    AddRequestValues(identity, m, engine, &j);
  } else {
    j["cpu_percent"] = m.system.cpu_percent;
    j["gpu_memory_mb"] = m.system.memory_mb;
  }
  return j;
}

Json InstancesJson(const ServerIdentity& identity, const EngineStats& engine) {
  Json list = Json::array();
  for (const InstanceInfo& instance : identity.instances) {
    WorkerStats sum;
    for (const WorkerStats& worker : engine.workers) {
      if (worker.instance != instance.id) continue;
      sum.requests += worker.requests;
      sum.pairs += worker.pairs;
      sum.tokens += worker.tokens;
      sum.busy_ms += worker.busy_ms;
      sum.multiply_adds += worker.multiply_adds;
    }
    list.push_back({{"id", instance.id},
                    {"name", instance.name},
                    {"model", ModelOf(identity, instance)},
                    {"backend", instance.caps.name},
                    {"device", instance.caps.device},
                    {"precision", instance.caps.precision},
                    {"details", instance.caps.details},
                    {"workers", instance.workers},
                    {"requests", sum.requests},
                    {"pairs", sum.pairs},
                    {"tokens", sum.tokens},
                    {"busy_ms", sum.busy_ms},
                    {"multiply_adds", sum.multiply_adds}});
  }
  return list;
}

std::string OneLine(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string ReferenceJson(const ServerIdentity& identity, const MetricsSnapshot& m,
                          const EngineStats& engine) {
  Json j = WithoutHistory(identity, m, engine);
  j["history"] = HistoryJson(m.history);
  if (j.contains("rerankd")) j["rerankd"]["history"] = OwnHistoryJson(m.history);
  return j.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string DashboardJson(const ServerIdentity& identity, const MetricsSnapshot& m, const EngineStats& engine,
                          int64_t in_flight) {
  Json j = WithoutHistory(identity, m, engine);
  j["rerankd"] = OwnJson(identity, m, engine);
  j["server"] = {{"model", identity.model},
                 {"version", RERANKD_VERSION},
                 {"in_flight", in_flight},
                 {"instances", InstancesJson(identity, engine)}};
  return OneLine(j);
}

std::string DashboardHistoryJson(const MetricsSnapshot& m, size_t points) {
  const size_t skipped = m.history.size() - std::min(points, m.history.size());
  const std::vector<HistoryPoint> last(m.history.begin() + static_cast<std::ptrdiff_t>(skipped),
                                       m.history.end());
  Json columns = HistoryJson(last);
  columns.update(OwnHistoryJson(last));
  return OneLine(columns);
}

}  // namespace rerankd::serving
