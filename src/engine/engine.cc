#include "engine/engine.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include "base/cpu.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/backend_registry.h"
#include "engine/model_source.h"
#include "scheduler/scheduler.h"
#include "tokenizer/tokenizer.h"
#include "weights/model_config.h"

namespace rerankd {
namespace {

struct LoadedModel {
  ModelInfo info;
  ModelConfig config;
};

class LocalEngine final : public Engine {
 public:
  LocalEngine(std::vector<ModelInfo> models, std::vector<InstanceInfo> instances,
              std::unique_ptr<Scheduler> scheduler)
      : models_(std::move(models)), instances_(std::move(instances)), scheduler_(std::move(scheduler)) {}

  Status Submit(ScoreRequest request, Completion done) override {
    RERANKD_RETURN_IF_ERROR(FindModel(request.model).status());
    return scheduler_->Submit(std::move(request), std::move(done));
  }
  void Drain() override { scheduler_->Drain(); }
  const std::vector<ModelInfo>& models() const override { return models_; }
  const std::vector<InstanceInfo>& instances() const override { return instances_; }
  EngineStats stats() const override { return scheduler_->stats(); }

 private:
  const std::vector<ModelInfo> models_;  // outlive the scheduler, which uses their tokenizers
  const std::vector<InstanceInfo> instances_;
  const std::unique_ptr<Scheduler> scheduler_;
};

Status CheckInstances(const Settings& settings) {
  if (settings.instances.empty()) return InvalidArgument("no model instance is configured: name one");
  for (const InstanceSettings& instance : settings.instances)
    if (instance.model != settings.instances.front().model)
      return FailedPrecondition("instances of two models, '" + settings.instances.front().model + "' and '" +
                                instance.model + "': all instances of one engine run the same model");
  return {};
}

Result<LoadedModel> LoadModel(const Settings& settings) {
  const InstanceSettings& first = settings.instances.front();
  LoadedModel model;
  model.info.name = first.model;
  RERANKD_ASSIGN_OR_RETURN(model.info.directory, ProvideModel(first.model, {}));
  RERANKD_ASSIGN_OR_RETURN(model.config, LoadModelConfig(model.info.directory));
  model.info.num_labels = model.config.num_labels;
  model.info.labels = model.config.labels;
  model.info.activation = model.config.activation;
  model.info.max_length = std::min(first.max_length, model.config.max_positions);
  RERANKD_ASSIGN_OR_RETURN(model.info.tokenizer, LoadModelTokenizer(settings));
  RERANKD_RETURN_IF_ERROR(CheckVocabulary(model.config, model.info.tokenizer->vocab_size()));
  return model;
}

// threads of each instance: its own setting, or its share of the cores that this process may use.
std::vector<int> ShareThreads(const std::vector<InstanceSettings>& instances) {
  const int count = static_cast<int>(instances.size());
  const int total = WorkerThreads(0);
  std::vector<int> threads;
  for (int i = 0; i < count; ++i) {
    const int share = total / count + (i < total % count ? 1 : 0);
    const int asked = instances[static_cast<size_t>(i)].threads;
    threads.push_back(asked > 0 ? asked : std::max(share, 1));
  }
  return threads;
}

// All backends at once: each touches its own memory.
Status WarmUp(const std::vector<std::unique_ptr<Backend>>& backends, int max_length) {
  std::vector<int> lengths;
  for (const int length : {16, 64, 256})
    if (length < max_length) lengths.push_back(length);
  lengths.push_back(std::min(max_length, 256));
  std::vector<Status> statuses(backends.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < backends.size(); ++i)
    threads.emplace_back([&, i] { statuses[i] = backends[i]->Warmup(lengths); });
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) RERANKD_RETURN_IF_ERROR(status.WithContext("warm-up"));
  return {};
}

Result<std::vector<SchedulerInstance>> MakeInstances(const Settings& settings, const LoadedModel& model) {
  std::vector<SchedulerInstance> instances;
  BackendRegistry registry;
  const std::vector<int> threads = ShareThreads(settings.instances);
  for (size_t i = 0; i < settings.instances.size(); ++i) {
    const InstanceSettings& wanted = settings.instances[i];
    SchedulerInstance instance;
    instance.name = wanted.backend + "-" + std::to_string(i);
    instance.max_length = std::min(wanted.max_length, model.config.max_positions);
    auto backends = registry.Make({wanted, model.info.directory, model.config, threads[i]});
    if (!backends.ok()) return backends.status().WithContext("instance " + instance.name);
    instance.workers = std::move(*backends);
    RERANKD_RETURN_IF_ERROR(
        WarmUp(instance.workers, instance.max_length).WithContext("instance " + instance.name));
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::vector<InstanceInfo> Describe(const std::vector<SchedulerInstance>& instances) {
  std::vector<InstanceInfo> infos;
  for (const SchedulerInstance& instance : instances)
    infos.push_back({static_cast<int>(infos.size()), 0, instance.name, instance.workers.front()->caps(),
                     static_cast<int>(instance.workers.size())});
  return infos;
}

Result<CoreOptions> SchedulerOptions(const Settings& settings) {
  CoreOptions options;
  RERANKD_ASSIGN_OR_RETURN(options.routing, ParseRouting(settings.routing_strategy));
  RERANKD_ASSIGN_OR_RETURN(options.mode, ParsePipelineMode(settings.pipeline_mode));
  options.admission = {settings.scheduler.max_queue_ms, settings.scheduler.max_queue_tokens,
                       settings.scheduler.max_queue_requests};
  options.window = {settings.batching.enabled, settings.batching.max_batch_size,
                    FromMs(settings.batching.timeout_ms), settings.batching.length_aware};
  options.default_deadline_ms = settings.scheduler.default_deadline_ms;
  options.batch_tokens = settings.scheduler.batch_tokens;
  options.tokenizer_threads = std::max(settings.tokenizer_pool.num_workers, 1);
  return options;
}

void LogStart(const ModelInfo& model, const std::vector<InstanceInfo>& instances) {
  Log(LogLevel::kDebug, "model loaded", {{"name", model.name}, {"directory", model.directory}});
  for (const InstanceInfo& instance : instances)
    Log(LogLevel::kDebug, "instance ready",
        {{"name", instance.name},
         {"device", instance.caps.device},
         {"precision", instance.caps.precision},
         {"details", instance.caps.details},
         {"workers", instance.workers}});
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Create(const Settings& settings) {
  RERANKD_RETURN_IF_ERROR(CheckInstances(settings));
  RERANKD_ASSIGN_OR_RETURN(const CoreOptions options, SchedulerOptions(settings));
  RERANKD_ASSIGN_OR_RETURN(LoadedModel model, LoadModel(settings));
  std::vector<SchedulerInstance> instances;
  if (options.mode != PipelineMode::kTokenizationOnly) {
    RERANKD_ASSIGN_OR_RETURN(instances, MakeInstances(settings, model));
  }
  std::vector<InstanceInfo> infos = Describe(instances);
  LogStart(model.info, infos);
  RERANKD_ASSIGN_OR_RETURN(auto scheduler, Scheduler::Create(options, model.info.tokenizer.get(),
                                                             std::move(instances), model.info.max_length));
  return std::unique_ptr<Engine>(std::make_unique<LocalEngine>(std::vector{std::move(model.info)},
                                                               std::move(infos), std::move(scheduler)));
}

Result<const ModelInfo*> Engine::FindModel(std::string_view name) const {
  if (name.empty()) return &model();
  std::vector<std::string> names;
  for (const ModelInfo& model : models()) {
    if (model.name == name) return &model;
    if (std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end()) return &model;
    names.push_back(model.name);
    names.insert(names.end(), model.aliases.begin(), model.aliases.end());
  }
  return NotFound("no model '" + std::string(name) + "'" + Hint(name, names) + ": this server has " +
                  Join(names, ", "));
}

Result<ScoreResult> Engine::Score(ScoreRequest request) {
  std::promise<Result<ScoreResult>> promise;
  RERANKD_RETURN_IF_ERROR(
      Submit(std::move(request), [&](Result<ScoreResult> result) { promise.set_value(std::move(result)); }));
  return promise.get_future().get();
}

Result<std::shared_ptr<const Tokenizer>> LoadModelTokenizer(const Settings& settings) {
  RERANKD_RETURN_IF_ERROR(CheckInstances(settings));
  const std::string& name = settings.tokenizer_pool.model_name.empty() ? settings.instances.front().model
                                                                       : settings.tokenizer_pool.model_name;
  RERANKD_ASSIGN_OR_RETURN(const std::string directory, ProvideModel(name, {}));
  RERANKD_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer, LoadTokenizer(directory));
  return tokenizer;
}

}  // namespace rerankd
