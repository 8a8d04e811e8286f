#include "serving/metrics/reference_prometheus.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <mutex>
#include <string>

namespace rerankd::serving {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;

const Histogram::BucketBoundaries kSeconds = {.005, .01, .025, .05, .075, .1,  .25,
                                              .5,   .75, 1,    2.5, 5,    7.5, 10};

Counter& MakeCounter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}
Gauge& MakeGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}
Histogram& MakeSeconds(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, kSeconds);
}

MetricLabels Worker(int id, const char* type) {
  return {{"worker_id", std::to_string(id)}, {"worker_type", type}};
}

// Stages that took no time are not observed.
void ObserveStage(double ms, Histogram* histogram) {
  if (ms > 0) histogram->Observe(ms / 1000);
}

}  // namespace

struct ReferencePrometheus::Impl {
  prometheus::Registry registry;
  Counter& pairs = MakeCounter(registry, "request_count_total", "Pairs of answered requests");
  Counter& padded = MakeCounter(registry, "padded_tokens_total",
                                "Tokens that padding each request to its longest pair would add");
  Counter& tokens =
      MakeCounter(registry, "total_tokens_total", "Tokens of answered requests, those included");
  Histogram& total = MakeSeconds(registry, "request_latency_seconds", "Accepted until answered");
  Histogram& inference = MakeSeconds(registry, "inference_latency_seconds", "First worker start to last end");
  Histogram& tokenize = MakeSeconds(registry, "tokenization_latency_seconds", "Encoding of the texts");
  Histogram& queue = MakeSeconds(registry, "queue_wait_latency_seconds", "Accepted until a worker starts");
  Histogram& model_queue =
      MakeSeconds(registry, "model_queue_wait_latency_seconds", "The same: there is one queue");
  Histogram& overhead = MakeSeconds(registry, "pipeline_overhead_latency_seconds", "Latency less the stages");
  Gauge& padding_ratio = MakeGauge(registry, "padding_ratio", "Padding share of the latest request, 0..1");
  Gauge& longest = MakeGauge(registry, "max_seq_length", "Longest pair of the latest request, tokens");
  Gauge& mean = MakeGauge(registry, "avg_seq_length", "Mean pair of the latest request, tokens");
  Family<Gauge>& worker_latency = prometheus::BuildGauge()
                                      .Name("worker_latency_ms")
                                      .Help("Stage time of the worker's latest request")
                                      .Register(registry);
  Family<Counter>& worker_pairs = prometheus::BuildCounter()
                                      .Name("worker_request_count_total")
                                      .Help("Pairs of the requests that the worker began")
                                      .Register(registry);
  Family<Counter>& worker_tokens = prometheus::BuildCounter()
                                       .Name("worker_tokens_total")
                                       .Help("Tokens of those requests")
                                       .Register(registry);

  std::mutex mutex;
  int64_t tokenized = 0;  // requests that left the tokenizer queue; never falls

  void ObserveWorker(const MetricLabels& labels, double ms, const RequestRecord& r) {
    worker_latency.Add(labels).Set(ms);
    worker_pairs.Add(labels).Increment(r.pairs);
    worker_tokens.Add(labels).Increment(static_cast<double>(r.counts.real));
  }
};

ReferencePrometheus::ReferencePrometheus() : impl_(std::make_unique<Impl>()) {}

ReferencePrometheus::~ReferencePrometheus() = default;

void ReferencePrometheus::Observe(const RequestRecord& r) {
  const double all = static_cast<double>(r.counts.longest) * r.pairs;
  const double padding = std::max(0.0, all - static_cast<double>(r.counts.real));
  impl_->pairs.Increment(r.pairs);
  impl_->padded.Increment(padding);
  impl_->tokens.Increment(all);
  ObserveStage(r.latency_ms, &impl_->total);
  ObserveStage(r.timings.inference_ms, &impl_->inference);
  ObserveStage(r.timings.tokenize_ms, &impl_->tokenize);
  ObserveStage(r.timings.queue_ms, &impl_->queue);
  ObserveStage(r.timings.queue_ms, &impl_->model_queue);
  ObserveStage(r.latency_ms - r.timings.queue_ms - r.timings.tokenize_ms - r.timings.inference_ms,
               &impl_->overhead);
  impl_->padding_ratio.Set(PaddingPercent(r.counts) / 100);
  impl_->longest.Set(r.counts.longest);
  impl_->mean.Set(r.pairs > 0 ? static_cast<double>(r.counts.real) / r.pairs : 0);
  if (r.worker >= 0) impl_->ObserveWorker(Worker(r.worker, "model"), r.timings.inference_ms, r);
  impl_->ObserveWorker(Worker(0, "tokenizer"), r.timings.tokenize_ms, r);
}

std::vector<prometheus::MetricFamily> ReferencePrometheus::Collect() const {
  return impl_->registry.Collect();
}

void ReferencePrometheus::AddLive(const ReferenceState& state, const EngineStats& engine, Families* out) {
  double tokenized = 0;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->tokenized = std::max(impl_->tokenized, state.admitted - engine.tokenizer_queue);
    tokenized = static_cast<double>(impl_->tokenized);
  }
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  out->Counter("tokenizer_queue_items_in_total", "Requests admitted", number(state.admitted), {});
  out->Counter("tokenizer_queue_items_out_total", "Requests that a tokenizer took", tokenized, {});
  out->Counter("model_queue_items_in_total", "The same requests, on their way to a worker", tokenized, {});
  out->Counter("model_queue_items_out_total", "Requests that ended", number(state.completed), {});
  out->Gauge("tokenizer_queue_size", "Requests waiting for a tokenizer", number(engine.tokenizer_queue), {});
  out->Gauge("model_queue_size", "Requests waiting for a worker", number(engine.model_queue), {});
  out->Gauge("batch_queue_size", "Always 0: batches are made when a worker takes them", 0, {});
  out->Gauge("cpu_percent", "CPU use of the process, 100 = one core", state.cpu_percent, {});
  out->Gauge("gpu_memory_mb", "Device memory, of the process on a CPU", state.memory_mb, {});
}

}  // namespace rerankd::serving
