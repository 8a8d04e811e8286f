#include "serving/metrics/prometheus.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

#include "serving/metrics/engine_families.h"
#include "serving/metrics/families.h"
#include "serving/metrics/reference_prometheus.h"

namespace rerankd::serving {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::MetricType;
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

void AddProcess(const LiveState& state, Families* out) {
  out->Begin(MetricType::Gauge, "rerankd_in_flight_requests", "Requests admitted and not answered");
  for (const auto& [model, requests] : state.in_flight)
    out->Point(static_cast<double>(requests), {{"model", model}});
  out->Gauge("rerankd_resident_memory_bytes", "Resident memory of the process",
             static_cast<double>(state.resident_bytes), {});
  out->Counter("rerankd_cpu_seconds_total", "CPU time of the process, all threads", state.cpu_seconds, {});
  out->Gauge("rerankd_build_info", "1; the label says which version runs", 1, {{"version", RERANKD_VERSION}});
}

}  // namespace

struct PrometheusMetrics::Impl {
  explicit Impl(const Engine& the_engine) : engine(the_engine) {}

  const Engine& engine;
  std::unique_ptr<ReferencePrometheus> reference;  // null = not asked for
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
  std::map<std::pair<std::string, std::string>, RouteSeries> routes;  // by model, route

  RouteSeries ForRoute(std::string_view model, std::string_view route) {
    std::pair<std::string, std::string> key(model, route);
    std::lock_guard lock(mutex);
    const auto known = routes.find(key);
    if (known != routes.end()) return known->second;
    const MetricLabels labels = {{"model", key.first}, {"route", key.second}};
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
    routes.emplace(std::move(key), series);
    return series;
  }
};

PrometheusMetrics::PrometheusMetrics(const Engine& engine, bool reference_names)
    : impl_(std::make_unique<Impl>(engine)) {
  if (reference_names) impl_->reference = std::make_unique<ReferencePrometheus>();
}

PrometheusMetrics::~PrometheusMetrics() = default;

void PrometheusMetrics::Observe(std::string_view model, std::string_view route, const RequestRecord& r,
                                std::span<const int32_t> tokens) {
  const RouteSeries series = impl_->ForRoute(model, route);
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
  if (impl_->reference) impl_->reference->Observe(r);
}

void PrometheusMetrics::ObserveFailure(std::string_view model, std::string_view route, Code code) {
  impl_->errors
      .Add({{"model", std::string(model)},
            {"route", std::string(route)},
            {"code", std::string(CodeName(code))}})
      .Increment();
}

std::string PrometheusMetrics::Text(const LiveState& state) const {
  Families families;
  AddProcess(state, &families);
  AddEngineFamilies(impl_->engine, state.engine, state.utilization, &families);
  if (impl_->reference) impl_->reference->AddLive(state.reference, state.engine, &families);
  std::vector<prometheus::MetricFamily> all = impl_->registry.Collect();
  const auto append = [&](std::vector<prometheus::MetricFamily> more) {
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  append(families.Take());
  if (impl_->reference) append(impl_->reference->Collect());
  std::erase_if(all, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return out.str();
}

}  // namespace rerankd::serving
