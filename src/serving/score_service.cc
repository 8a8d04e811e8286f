#include "serving/score_service.h"

#include <cmath>
#include <utility>

#include "base/cpu.h"
#include "core/scoring.h"

namespace rerankd::serving {
namespace {

constexpr double kMiB = 1 << 20;
constexpr size_t kDashboardPoints = 1'800;  // 15 minutes: the longest window that the page shows

ServerIdentity MakeIdentity(const Settings& settings, const Engine& engine) {
  ServerIdentity identity;
  identity.experiment_name = settings.name;
  identity.experiment_description = settings.description;
  identity.pipeline_mode = settings.pipeline_mode;
  identity.model = engine.model().name;
  for (const ModelInfo& model : engine.models()) identity.models.push_back(model.name);
  identity.instances = engine.instances();
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
      prometheus_(engine, settings.metrics.reference_names),
      cpu_(clock, ProcessCpuTime),
      in_flight_(engine.models().size()) {}

Status ScoreService::Submit(std::string_view route, TimePoint started, ScoreRequest request, Answered done) {
  const Ticket ticket = {ModelIndex(request.model), route, started};
  const auto documents = static_cast<int64_t>(request.documents.size());
  if (documents > settings_.server.max_documents) {
    return RefuseFor(ticket.model, route,
                     InvalidArgument(std::to_string(documents) + " documents in one request, at most " +
                                     std::to_string(settings_.server.max_documents) +
                                     " are allowed (server.max_documents): split the request"));
  }
  ++in_flight_[ticket.model];
  Status admitted =
      engine_.Submit(std::move(request), [this, ticket, done = std::move(done)](Result<ScoreResult> result) {
        Complete(ticket, std::move(result), done);
      });
  if (admitted.ok()) {
    ++admitted_;
    return {};
  }
  --in_flight_[ticket.model];
  return RefuseFor(ticket.model, route, std::move(admitted));
}

Result<const ModelInfo*> ScoreService::ChooseModel(std::string_view name) const {
  Result<const ModelInfo*> model = engine_.FindModel(name);
  if (model.ok() || settings_.server.strict_model_names) return model;
  return &engine_.model();
}

Status ScoreService::Refuse(std::string_view route, Status status) {
  return RefuseFor(0, route, std::move(status));
}

Status ScoreService::RefuseFor(size_t model, std::string_view route, Status status) {
  prometheus_.ObserveFailure(ModelName(model), route, status.code());
  return status;
}

void ScoreService::CountFailure(std::string_view route, Code code) {
  prometheus_.ObserveFailure(ModelName(0), route, code);
}

size_t ScoreService::ModelIndex(std::string_view name) const {
  const Result<const ModelInfo*> found = engine_.FindModel(name);
  return found.ok() ? static_cast<size_t>(*found - engine_.models().data()) : 0;
}

void ScoreService::Complete(const Ticket& ticket, Result<ScoreResult> result, const Answered& done) {
  const double latency_ms = ToMs(clock_.Now() - ticket.started);
  const std::string& model = ModelName(ticket.model);
  ++completed_;
  if (result.ok()) {
    const RequestRecord record = {latency_ms, static_cast<int>(result->tokens.size()), result->worker,
                                  result->timings, result->counts};
    metrics_.Record(record);
    prometheus_.Observe(model, ticket.route, record, result->tokens);
    --in_flight_[ticket.model];
    done(Answer{std::move(result).value(), latency_ms});
  } else {
    prometheus_.ObserveFailure(model, ticket.route, result.status().code());
    --in_flight_[ticket.model];
    done(result.status());
  }
}

void ScoreService::Drain() {
  draining_ = true;
  engine_.Drain();
}

Status ScoreService::Working(const ModelInfo* model) const {
  const std::vector<InstanceInfo>& instances = engine_.instances();
  if (instances.empty()) return {};  // pipeline mode tokenization_only
  const std::vector<ModelInfo>& models = engine_.models();
  std::vector<bool> works(models.size());
  for (const WorkerStats& worker : engine_.stats().workers)
    if (worker.alive)
      works[static_cast<size_t>(instances[static_cast<size_t>(worker.instance)].model)] = true;
  for (size_t i = 0; i < models.size(); ++i)
    if (!works[i] && (model == nullptr || model == &models[i]))
      return Unavailable("no worker of model '" + models[i].name + "' is left: restart the server");
  return {};
}

Status ScoreService::Ready(const ModelInfo* model) const {
  return draining() ? Unavailable("the server is draining") : Working(model);
}

void ScoreService::SampleSystem() {
  const EngineStats stats = engine_.stats();
  const bool on_cpu = identity_.device.empty() || identity_.device == "cpu";
  SystemSample sample;
  sample.cpu_percent = cpu_.Read();
  sample.memory_mb = static_cast<double>(on_cpu ? ResidentBytes() : stats.usage.device_bytes) / kMiB;
  sample.workers = static_cast<int>(stats.workers.size());
  for (const WorkerStats& worker : stats.workers) sample.busy_ms += worker.busy_ms;
  sample.tokenizer_queue = stats.tokenizer_queue;
  sample.model_queue = stats.model_queue;
  metrics_.Sample(sample);
  utilization_.Sample(clock_.Now(), stats.workers);
}

std::string ScoreService::ReferenceMetricsJson() {
  SampleSystem();
  return ReferenceJson(identity_, metrics_.Snapshot(), engine_.stats());
}

std::string ScoreService::DashboardJson() {
  SampleSystem();
  int64_t in_flight = 0;
  for (const std::atomic<int64_t>& of_model : in_flight_) in_flight += of_model.load();
  return serving::DashboardJson(identity_, metrics_.Snapshot(), engine_.stats(), in_flight);
}

std::string ScoreService::DashboardHistoryJson() const {
  return serving::DashboardHistoryJson(metrics_.Snapshot(), kDashboardPoints);
}

std::string ScoreService::PrometheusText() {
  LiveState state;
  for (size_t model = 0; model < in_flight_.size(); ++model)
    state.in_flight[ModelName(model)] += in_flight_[model].load();
  state.resident_bytes = ResidentBytes();
  state.cpu_seconds = ToSeconds(ProcessCpuTime());
  state.engine = engine_.stats();
  state.utilization = utilization_.Read();
  const bool on_cpu = identity_.device.empty() || identity_.device == "cpu";
  const int64_t memory = on_cpu ? state.resident_bytes : state.engine.usage.device_bytes;
  state.reference = {cpu_.Read(), static_cast<double>(memory) / kMiB, admitted_.load(), completed_.load()};
  return prometheus_.Text(state);
}

Status HasRelevance(int num_labels) {
  if (num_labels <= 2) return {};
  return FailedPrecondition("the model has " + std::to_string(num_labels) +
                            " labels; a relevance score needs a model with 1 or 2");
}

Result<std::vector<float>> RelevanceScores(const ScoreResult& result, bool raw) {
  RERANKD_RETURN_IF_ERROR(HasRelevance(result.num_labels));
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
