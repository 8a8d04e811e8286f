#include "serving/score_service.h"

#include <cmath>
#include <utility>

#include "base/cpu.h"
#include "core/scoring.h"

namespace rerankd::serving {
namespace {

constexpr double kMiB = 1 << 20;

ServerIdentity MakeIdentity(const Settings& settings, const Engine& engine) {
  ServerIdentity identity;
  identity.experiment_name = settings.name;
  identity.experiment_description = settings.description;
  identity.pipeline_mode = settings.pipeline_mode;
  if (!engine.instances().empty()) {
    identity.backend_type = engine.instances().front().caps.name;
    identity.device = engine.instances().front().caps.device;
  }
  return identity;
}

}  // namespace

ScoreService::ScoreService(const Settings& settings, Engine& engine, const Clock& clock)
    : settings_(settings),
      engine_(engine),
      clock_(clock),
      identity_(MakeIdentity(settings, engine)),
      metrics_(clock),
      prometheus_(engine),
      cpu_(clock, ProcessCpuTime) {}

Status ScoreService::Submit(std::string_view route, TimePoint started, ScoreRequest request, Answered done) {
  const auto documents = static_cast<int64_t>(request.documents.size());
  if (documents > settings_.server.max_documents) {
    return Refuse(route, InvalidArgument(std::to_string(documents) + " documents in one request, at most " +
                                         std::to_string(settings_.server.max_documents) +
                                         " are allowed (server.max_documents): split the request"));
  }
  request.pair_options.max_length = engine_.model().max_length;
  ++in_flight_;
  Status admitted = engine_.Submit(
      std::move(request), [this, route, started, done = std::move(done)](Result<ScoreResult> result) {
        Complete(route, started, std::move(result), done);
      });
  if (admitted.ok()) return {};
  --in_flight_;
  return Refuse(route, std::move(admitted));
}

Status ScoreService::Refuse(std::string_view route, Status status) {
  prometheus_.ObserveFailure(route, status.code());
  return status;
}

void ScoreService::Complete(std::string_view route, TimePoint started, Result<ScoreResult> result,
                            const Answered& done) {
  const double latency_ms = ToMs(clock_.Now() - started);
  if (result.ok()) {
    const RequestRecord record = {latency_ms, static_cast<int>(result->tokens.size()), result->worker,
                                  result->timings, result->counts};
    metrics_.Record(record);
    prometheus_.Observe(route, record, result->tokens);
    --in_flight_;
    done(Answer{std::move(result).value(), latency_ms});
  } else {
    prometheus_.ObserveFailure(route, result.status().code());
    --in_flight_;
    done(result.status());
  }
}

void ScoreService::Drain() {
  draining_ = true;
  engine_.Drain();
}

void ScoreService::SampleSystem() {
  const EngineStats stats = engine_.stats();
  const bool on_cpu = identity_.device.empty() || identity_.device == "cpu";
  SystemSample sample;
  sample.cpu_percent = cpu_.Read();
  sample.memory_mb = static_cast<double>(on_cpu ? ResidentBytes() : stats.usage.device_bytes) / kMiB;
  sample.workers = static_cast<int>(stats.workers.size());
  for (const WorkerStats& worker : stats.workers) sample.busy_ms += worker.busy_ms;
  metrics_.Sample(sample);
}

std::string ScoreService::ReferenceMetricsJson() {
  SampleSystem();
  return ReferenceJson(identity_, metrics_.Snapshot(), engine_.stats());
}

std::string ScoreService::PrometheusText() {
  return prometheus_.Text({in_flight_.load(), ResidentBytes(), engine_.stats()});
}

Result<std::vector<float>> RelevanceScores(const ScoreResult& result, bool raw) {
  if (result.num_labels > 2) {
    return FailedPrecondition("the model has " + std::to_string(result.num_labels) +
                              " labels; a relevance score needs a model with 1 or 2");
  }
  std::vector<float> scores = result.logits;
  if (result.num_labels == 2) {  // softmax[1] = sigmoid(logit 1 - logit 0)
    scores.resize(result.logits.size() / 2);
    for (size_t i = 0; i < scores.size(); ++i) scores[i] = result.logits[2 * i + 1] - result.logits[2 * i];
  }
  if (!raw) Activate(Activation::kSigmoid, 1, scores);
  for (const float score : scores)
    if (std::isnan(score)) return Internal("score is NaN");
  return scores;
}

}  // namespace rerankd::serving
