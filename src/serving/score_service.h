// The one way from a wire protocol to the engine: limits, draining, deadlines' clock, and a record of every
// outcome. Both servers share one. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "serving/metrics/process_usage.h"
#include "serving/metrics/prometheus.h"
#include "serving/metrics/reference_json.h"
#include "serving/metrics/reference_metrics.h"
#include "serving/metrics/utilization.h"

namespace rerankd::serving {

struct Answer {
  ScoreResult result;
  double latency_ms = 0;          // handler entry until now
  int64_t characters = 0;         // of all pairs: a query counts once for each of its documents
  std::string_view compute_type;  // "cpu+int8": of the model's first instance; outlives the answer
};
using Answered = std::function<void(Result<Answer>)>;

class ScoreService {
 public:
  // `engine` and `clock` outlive this.
  ScoreService(const Settings& settings, Engine& engine, const Clock& clock);

  // Admits at once or returns why not (`done` is then not called). `started` is when the handler was entered;
  // `route` labels the metrics and outlives the call. Pairs may be as long as the model allows.
  Status Submit(std::string_view route, TimePoint started, ScoreRequest request, Answered done);
  // The model for the name in a request. One that this server does not have (clients send that of another
  // server) means the default model, unless server.strict_model_names is set: then it is kNotFound.
  Result<const ModelInfo*> ChooseModel(std::string_view name) const;
  // A request that never became one: malformed, empty. Counts it (for the default model) and hands `status`
  // back.
  Status Refuse(std::string_view route, Status status);
  // A request that no handler has seen (of the default model).
  void CountFailure(std::string_view route, Code code);

  // Stops admitting (kUnavailable), waits for what was admitted.
  void Drain();
  bool draining() const { return draining_.load(); }
  // kUnavailable if `model` (null: any of them) has no worker left.
  Status Working(const ModelInfo* model = nullptr) const;
  // Whether requests for it are taken: it works and the server does not drain.
  Status Ready(const ModelInfo* model = nullptr) const;

  // One reading of the machine into the metrics; called every 500 ms and before a snapshot is shown.
  void SampleSystem();
  std::string ReferenceMetricsJson();
  std::string PrometheusText();
  // What dashboard_feed.h sends.
  std::string DashboardJson();
  std::string DashboardHistoryJson() const;
  MetricsSnapshot Snapshot() const { return metrics_.Snapshot(); }
  void ResetMetrics() { metrics_.Reset(); }

  TimePoint Now() const { return clock_.Now(); }
  Engine& engine() { return engine_; }
  const Settings& settings() const { return settings_; }

 private:
  // What is known of a request while it is scored.
  struct Ticket {
    size_t model;  // index into engine().models()
    std::string_view route;
    TimePoint started;
    int64_t characters;
  };

  // The model that `name` means; the default one if there is none, for the engine to refuse.
  size_t ModelIndex(std::string_view name) const;
  const std::string& ModelName(size_t model) const { return engine_.models()[model].name; }
  Status RefuseFor(size_t model, std::string_view route, Status status);
  void Complete(const Ticket& ticket, Result<ScoreResult> result, const Answered& done);

  const Settings settings_;
  Engine& engine_;
  const Clock& clock_;
  const ServerIdentity identity_;
  const std::vector<std::string> compute_types_;  // by model
  ReferenceMetrics metrics_;
  PrometheusMetrics prometheus_;
  CpuMeter cpu_;
  UtilizationMeter utilization_;
  std::vector<std::atomic<int64_t>> in_flight_;      // by model
  std::atomic<int64_t> admitted_{0}, completed_{0};  // since the start
  std::atomic<bool> draining_{false};
};

// kFailedPrecondition for a model whose labels do not make one relevance score.
Status HasRelevance(int num_labels);
// One relevance score a pair: sigmoid of the only logit, or softmax class 1 of two; `raw` gives the log-odds
// instead. More labels: kFailedPrecondition. NaN: kInternal.
Result<std::vector<float>> RelevanceScores(const ScoreResult& result, bool raw);

}  // namespace rerankd::serving
