#include "serving/metrics/prometheus.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

namespace rerankd::serving {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::MetricType;
using Labels = std::map<std::string, std::string>;
using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kSeconds = {.0005, .001, .0025, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 10};
const Buckets kDocuments = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
const Buckets kTokens = {16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512};

Family<Counter>& CounterFamily(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<prometheus::Histogram>& HistogramFamily(prometheus::Registry& registry, const char* name,
                                               const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

// The series of one route, looked up once per request.
struct RouteSeries {
  Counter *requests, *pairs, *tokens, *computed_tokens, *truncated;
  prometheus::Histogram *total, *queue, *tokenize, *inference, *documents, *pair_tokens;
};

// One lock for all pairs: they are sorted into buckets first.
void ObserveTokens(std::span<const int32_t> tokens, prometheus::Histogram* histogram) {
  std::vector<double> increments(kTokens.size() + 1, 0);
  double sum = 0;
  for (const int32_t n : tokens) {
    const auto bucket = std::lower_bound(kTokens.begin(), kTokens.end(), static_cast<double>(n));
    ++increments[static_cast<size_t>(bucket - kTokens.begin())];
    sum += n;
  }
  histogram->ObserveMultiple(increments, sum);
}

// Values that live elsewhere (the engine's totals, queue depths), read at scrape time.
class Families {
 public:
  explicit Families(std::string model) : model_(std::move(model)) {}

  void Add(MetricType type, const char* name, const char* help, double value) {
    Begin(type, name, help);
    Point(value, {});
  }
  void Begin(MetricType type, const char* name, const char* help) {
    families_.push_back({name, help, type, {}});
  }
  void Point(double value, const Labels& labels) {
    prometheus::ClientMetric metric;
    metric.label.push_back({"model", model_});
    for (const auto& [key, text] : labels) metric.label.push_back({key, text});
    metric.counter.value = metric.gauge.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  std::vector<prometheus::MetricFamily>& get() { return families_; }

 private:
  std::string model_;
  std::vector<prometheus::MetricFamily> families_;
};

void AddWorkers(const EngineStats& engine, Families* out) {
  const auto add = [&](const char* name, const char* help, auto value) {
    out->Begin(MetricType::Counter, name, help);
    for (size_t i = 0; i < engine.workers.size(); ++i) {
      const WorkerStats& w = engine.workers[i];
      out->Point(value(w), {{"instance", std::to_string(w.instance)}, {"worker", std::to_string(i)}});
    }
  };
  using W = const WorkerStats&;
  add("rerankd_worker_busy_seconds_total", "Time that a worker spent scoring",
      [](W w) { return w.busy_ms / 1000; });
  add("rerankd_worker_pairs_total", "Pairs scored", [](W w) { return static_cast<double>(w.pairs); });
  add("rerankd_worker_tokens_total", "Real tokens scored", [](W w) { return static_cast<double>(w.tokens); });
  add("rerankd_worker_padded_tokens_total", "Tokens computed, padding included",
      [](W w) { return static_cast<double>(w.padded_tokens); });
}

double PaddingWaste(const EngineStats& engine) {
  double real = 0, computed = 0;
  for (const WorkerStats& w : engine.workers) {
    real += static_cast<double>(w.tokens);
    computed += static_cast<double>(w.padded_tokens);
  }
  return computed > 0 ? 1 - real / computed : 0;
}

void AddEngine(const LiveState& state, Families* out) {
  const EngineStats& e = state.engine;
  const auto number = [](auto n) { return static_cast<double>(n); };
  out->Add(MetricType::Counter, "rerankd_rejected_total", "Requests refused because the queue was full",
           number(e.rejected));
  out->Add(MetricType::Counter, "rerankd_cancelled_total", "Requests dropped because their client left",
           number(e.cancelled));
  out->Add(MetricType::Counter, "rerankd_expired_total", "Requests dropped because their deadline passed",
           number(e.expired));
  out->Add(MetricType::Gauge, "rerankd_in_flight_requests", "Requests admitted and not answered",
           number(state.in_flight));
  out->Add(MetricType::Gauge, "rerankd_queue_requests", "Requests admitted and not scored",
           number(e.queued_requests));
  out->Add(MetricType::Gauge, "rerankd_queue_tokens", "Tokens admitted and not scored",
           number(e.queued_tokens));
  out->Add(MetricType::Gauge, "rerankd_tokenizer_queue_requests", "Requests waiting for a tokenizer",
           number(e.tokenizer_queue));
  out->Add(MetricType::Gauge, "rerankd_model_queue_requests", "Requests waiting for a worker",
           number(e.model_queue));
  out->Add(MetricType::Gauge, "rerankd_resident_memory_bytes", "Resident memory of the process",
           number(state.resident_bytes));
  out->Add(MetricType::Gauge, "rerankd_device_memory_bytes", "Device memory of the model",
           number(e.usage.device_bytes));
  if (e.usage.device_utilization >= 0)
    out->Add(MetricType::Gauge, "rerankd_device_utilization_ratio", "As the device reports it",
             e.usage.device_utilization);
  out->Add(MetricType::Gauge, "rerankd_padding_waste_ratio",
           "(computed - real) / computed tokens since the start", PaddingWaste(e));
  AddWorkers(e, out);
}

}  // namespace

struct PrometheusMetrics::Impl {
  std::string model;
  prometheus::Registry registry;
  Family<Counter>& requests = CounterFamily(registry, "rerankd_requests_total", "Requests answered");
  Family<Counter>& pairs = CounterFamily(registry, "rerankd_pairs_total", "Pairs scored");
  Family<Counter>& tokens =
      CounterFamily(registry, "rerankd_tokens_total", "Real tokens of answered requests");
  Family<Counter>& computed = CounterFamily(registry, "rerankd_computed_tokens_total",
                                            "Tokens computed for answered requests, padding included");
  Family<Counter>& truncated =
      CounterFamily(registry, "rerankd_truncated_documents_total", "Documents that were cut");
  Family<Counter>& errors = CounterFamily(registry, "rerankd_errors_total", "Requests that failed, by code");
  Family<prometheus::Histogram>& total =
      HistogramFamily(registry, "rerankd_request_duration_seconds", "Accepted until answered");
  Family<prometheus::Histogram>& queue =
      HistogramFamily(registry, "rerankd_queue_duration_seconds", "Accepted until a worker starts");
  Family<prometheus::Histogram>& tokenize =
      HistogramFamily(registry, "rerankd_tokenize_duration_seconds", "Encoding of the texts");
  Family<prometheus::Histogram>& inference = HistogramFamily(registry, "rerankd_inference_duration_seconds",
                                                             "First worker start until last worker end");
  Family<prometheus::Histogram>& documents =
      HistogramFamily(registry, "rerankd_documents_per_request", "Documents of a request");
  Family<prometheus::Histogram>& pair_tokens =
      HistogramFamily(registry, "rerankd_tokens_per_pair", "Tokens of a pair after truncation");

  std::mutex mutex;  // guards routes; the series themselves are thread-safe
  std::map<std::string, RouteSeries, std::less<>> routes;

  RouteSeries ForRoute(std::string_view route) {
    std::lock_guard lock(mutex);
    const auto known = routes.find(route);
    if (known != routes.end()) return known->second;
    const Labels labels = {{"model", model}, {"route", std::string(route)}};
    const RouteSeries series = {&requests.Add(labels),
                                &pairs.Add(labels),
                                &tokens.Add(labels),
                                &computed.Add(labels),
                                &truncated.Add(labels),
                                &total.Add(labels, kSeconds),
                                &queue.Add(labels, kSeconds),
                                &tokenize.Add(labels, kSeconds),
                                &inference.Add(labels, kSeconds),
                                &documents.Add(labels, kDocuments),
                                &pair_tokens.Add(labels, kTokens)};
    routes.emplace(route, series);
    return series;
  }
};

PrometheusMetrics::PrometheusMetrics(const Engine& engine) : impl_(std::make_unique<Impl>()) {
  impl_->model = engine.model().name;
}

PrometheusMetrics::~PrometheusMetrics() = default;

void PrometheusMetrics::Observe(std::string_view route, const RequestRecord& r,
                                std::span<const int32_t> tokens) {
  const RouteSeries series = impl_->ForRoute(route);
  series.requests->Increment();
  series.pairs->Increment(r.pairs);
  series.tokens->Increment(static_cast<double>(r.counts.real));
  series.computed_tokens->Increment(static_cast<double>(r.counts.computed));
  series.truncated->Increment(r.counts.truncated_pairs);
  series.total->Observe(r.latency_ms / 1000);
  series.queue->Observe(r.timings.queue_ms / 1000);
  series.tokenize->Observe(r.timings.tokenize_ms / 1000);
  series.inference->Observe(r.timings.inference_ms / 1000);
  series.documents->Observe(r.pairs);
  ObserveTokens(tokens, series.pair_tokens);
}

void PrometheusMetrics::ObserveFailure(std::string_view route, Code code) {
  impl_->errors
      .Add({{"model", impl_->model}, {"route", std::string(route)}, {"code", std::string(CodeName(code))}})
      .Increment();
}

std::string PrometheusMetrics::Text(const LiveState& state) const {
  Families families(impl_->model);
  AddEngine(state, &families);
  std::vector<prometheus::MetricFamily> all = impl_->registry.Collect();
  std::erase_if(all, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
  std::move(families.get().begin(), families.get().end(), std::back_inserter(all));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return out.str();
}

}  // namespace rerankd::serving
