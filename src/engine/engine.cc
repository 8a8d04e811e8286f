#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <utility>

#include "base/cpu.h"
#include "base/log.h"
#include "engine/backend_registry.h"
#include "engine/model_source.h"
#include "engine/warm_up.h"
#include "kernels/dispatch.h"
#include "kernels/peak.h"
#include "scheduler/overflow.h"
#include "scheduler/scheduler.h"
#include "tokenizer/tokenizer.h"
#include "weights/model_config.h"

namespace rerankd {
namespace {

constexpr int64_t kMiB = 1 << 20;

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
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, FindModel(request.model));
    request.model = model->name;
    return scheduler_->Submit(std::move(request), std::move(done));
  }
  void Drain() override { scheduler_->Drain(); }
  const std::vector<ModelInfo>& models() const override { return models_; }
  const std::vector<InstanceInfo>& instances() const override { return instances_; }
  EngineStats stats() const override {
    EngineStats stats = scheduler_->stats();
    stats.peak_multiply_adds_per_s = peak_;
    return stats;
  }

  void MeasurePeak() override {
    int threads = 0;
    std::string precision;
    for (const InstanceInfo& instance : instances_) {
      if (instance.caps.name != "native") continue;
      if (threads > 0 && instance.caps.precision != precision) return;  // no one peak for all of them
      threads += instance.workers;
      precision = instance.caps.precision;
    }
    const auto kernels = ChooseKernelsFromEnvironment();
    if (threads > 0 && kernels.ok())
      peak_ = rerankd::MeasurePeak(**kernels, precision, std::min(threads, WorkerThreads(0)));
  }

 private:
  std::atomic<double> peak_{0};
  const std::vector<ModelInfo> models_;  // outlive the scheduler, which uses their tokenizers
  const std::vector<InstanceInfo> instances_;
  const std::unique_ptr<Scheduler> scheduler_;
};

// `settings.tokenizer_pool.model_name` replaces the tokenizer of every model.
Result<std::shared_ptr<const Tokenizer>> TokenizerFor(const Settings& settings, const std::string& model) {
  const std::string& other = settings.tokenizer_pool.model_name;
  RERANKD_ASSIGN_OR_RETURN(const std::string directory,
                           ProvideModel(other.empty() ? model : other, UsesOf(settings, model), {}));
  RERANKD_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer, LoadTokenizer(directory));
  return tokenizer;
}

Result<LoadedModel> LoadModel(const Settings& settings, const std::string& name) {
  LoadedModel model;
  model.info.name = name;
  RERANKD_ASSIGN_OR_RETURN(model.info.directory, ProvideModel(name, UsesOf(settings, name), {}));
  RERANKD_ASSIGN_OR_RETURN(model.config, LoadModelConfig(model.info.directory));
  model.info.num_labels = model.config.num_labels;
  model.info.labels = model.config.labels;
  model.info.activation = model.config.activation;
  model.info.max_length = 0;
  RERANKD_ASSIGN_OR_RETURN(model.info.tokenizer, TokenizerFor(settings, name));
  RERANKD_RETURN_IF_ERROR(CheckVocabulary(model.config, model.info.tokenizer->vocab_size()));
  return model;
}

int IndexOf(const std::vector<LoadedModel>& models, const std::string& name) {
  const auto found = std::find_if(models.begin(), models.end(),
                                  [&](const LoadedModel& model) { return model.info.name == name; });
  return static_cast<int>(found - models.begin());
}

// The last part of a path or of a hub's id: what fits into a URL.
std::string ShortName(const std::string& name) {
  const size_t end = name.find_last_not_of('/') + 1;
  const size_t slash = name.find_last_of('/', end - 1);
  return name.substr(slash == std::string::npos ? 0 : slash + 1, end - (slash + 1));
}

// Configured aliases must be unique; a short name that is not unique is left out.
Status NameModels(const std::vector<InstanceSettings>& instances, std::vector<LoadedModel>* models) {
  std::map<std::string, int> owner;
  for (const LoadedModel& model : *models) owner[model.info.name] = IndexOf(*models, model.info.name);
  for (const InstanceSettings& instance : instances) {
    const int index = IndexOf(*models, instance.model);
    for (const std::string& alias : instance.aliases) {
      const auto [entry, added] = owner.emplace(alias, index);
      if (entry->second != index)
        return InvalidArgument("alias '" + alias + "' of model '" + instance.model + "' also names model '" +
                               (*models)[static_cast<size_t>(entry->second)].info.name + "': choose another");
      if (added) (*models)[static_cast<size_t>(index)].info.aliases.push_back(alias);
    }
  }
  std::map<std::string, int> count;
  for (const LoadedModel& model : *models) ++count[ShortName(model.info.name)];
  for (LoadedModel& model : *models) {
    const std::string name = ShortName(model.info.name);
    if (!name.empty() && count[name] == 1 && !owner.contains(name)) model.info.aliases.push_back(name);
  }
  return {};
}

Result<std::vector<LoadedModel>> LoadModels(const Settings& settings) {
  std::vector<LoadedModel> models;
  for (const InstanceSettings& instance : settings.instances) {
    const auto index = static_cast<size_t>(IndexOf(models, instance.model));
    if (index == models.size()) {
      RERANKD_ASSIGN_OR_RETURN(LoadedModel model, LoadModel(settings, instance.model));
      models.push_back(std::move(model));
    }
    int& longest = models[index].info.max_length;
    longest = std::max(longest, std::min(instance.max_length, models[index].config.max_positions));
  }
  RERANKD_RETURN_IF_ERROR(NameModels(settings.instances, &models));
  return models;
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

// Without workers where no backend is wanted.
Result<std::vector<SchedulerInstance>> MakeInstances(const Settings& settings, bool with_backends,
                                                     const std::vector<LoadedModel>& models) {
  std::vector<SchedulerInstance> instances;
  BackendRegistry registry;
  const std::vector<int> threads = ShareThreads(settings.instances);
  for (size_t i = 0; i < settings.instances.size(); ++i) {
    const InstanceSettings& wanted = settings.instances[i];
    const LoadedModel& model = models[static_cast<size_t>(IndexOf(models, wanted.model))];
    SchedulerInstance instance;
    instance.name = wanted.backend + "-" + std::to_string(i);
    instance.model = wanted.model;
    instance.tokenizer = model.info.tokenizer.get();
    instance.max_length = std::min(wanted.max_length, model.config.max_positions);
    if (with_backends) {
      auto backends = registry.Make({wanted, model.info.directory, model.config, threads[i]});
      if (!backends.ok()) return backends.status().WithContext("instance " + instance.name);
      instance.workers = std::move(*backends);
      RERANKD_RETURN_IF_ERROR(
          WarmUp(instance.workers, instance.max_length).WithContext("instance " + instance.name));
    }
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::vector<InstanceInfo> Describe(const std::vector<SchedulerInstance>& instances,
                                   const std::vector<LoadedModel>& models) {
  std::vector<InstanceInfo> infos;
  for (const SchedulerInstance& instance : instances) {
    if (instance.workers.empty()) continue;  // mode tokenization_only
    infos.push_back({static_cast<int>(infos.size()), IndexOf(models, instance.model), instance.name,
                     instance.workers.front()->caps(), static_cast<int>(instance.workers.size())});
  }
  return infos;
}

OverflowOptions DocumentOptions(const DocumentSettings& settings, Overflow policy) {
  OverflowOptions options;
  options.policy = policy;
  options.max_tokens_per_query = settings.max_tokens_per_query;
  options.max_tokens_per_doc = settings.max_tokens_per_doc;
  options.window = settings.window;
  options.stride = settings.stride;
  options.max_windows_per_doc = settings.max_windows;
  return options;
}

Result<CoreOptions> SchedulerOptions(const Settings& settings) {
  CoreOptions options;
  RERANKD_ASSIGN_OR_RETURN(options.routing, ParseRouting(settings.routing_strategy));
  RERANKD_ASSIGN_OR_RETURN(options.mode, ParsePipelineMode(settings.pipeline_mode));
  options.admission = {settings.scheduler.max_queue_ms, settings.scheduler.max_queue_tokens,
                       settings.scheduler.max_queue_requests};
  options.window = {settings.batching.enabled, settings.batching.max_batch_size,
                    FromMs(settings.batching.timeout_ms), settings.batching.length_aware,
                    settings.batching.max_batch_tokens};
  RERANKD_ASSIGN_OR_RETURN(const Overflow policy, ParseOverflow(settings.documents.overflow));
  options.documents = DocumentOptions(settings.documents, policy);
  options.merge_equal = settings.documents.merge_equal;
  options.default_deadline_ms = settings.scheduler.default_deadline_ms;
  options.batch_tokens = settings.scheduler.batch_tokens;
  options.max_quantum_ms = settings.scheduler.max_quantum_ms;
  options.tokenizer_threads = std::max(settings.tokenizer_pool.num_workers, 1);
  options.spread_slices = settings.tokenizer_pool.tokenizers_parallelism;
  return options;
}

void LogStart(const std::vector<ModelInfo>& models, const std::vector<InstanceInfo>& instances) {
  for (const ModelInfo& model : models)
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
  if (settings.instances.empty()) return InvalidArgument("no model instance is configured: name one");
  RERANKD_ASSIGN_OR_RETURN(const CoreOptions options, SchedulerOptions(settings));
  RERANKD_ASSIGN_OR_RETURN(const std::vector<LoadedModel> loaded, LoadModels(settings));
  const bool with_backends = options.mode != PipelineMode::kTokenizationOnly;
  RERANKD_ASSIGN_OR_RETURN(std::vector<SchedulerInstance> instances,
                           MakeInstances(settings, with_backends, loaded));
  std::vector<InstanceInfo> infos = Describe(instances, loaded);
  std::vector<ModelInfo> models;
  for (const LoadedModel& model : loaded) models.push_back(model.info);
  LogStart(models, infos);
  const CacheSizes caches = {settings.cache.documents_mib * kMiB, settings.cache.scores_mib * kMiB};
  RERANKD_ASSIGN_OR_RETURN(auto scheduler, Scheduler::Create(options, std::move(instances), caches));
  return std::unique_ptr<Engine>(
      std::make_unique<LocalEngine>(std::move(models), std::move(infos), std::move(scheduler)));
}

Result<ScoreResult> Engine::Score(ScoreRequest request) {
  std::promise<Result<ScoreResult>> promise;
  RERANKD_RETURN_IF_ERROR(
      Submit(std::move(request), [&](Result<ScoreResult> result) { promise.set_value(std::move(result)); }));
  return promise.get_future().get();
}

Result<std::shared_ptr<const Tokenizer>> LoadModelTokenizer(const Settings& settings) {
  if (settings.instances.empty()) return InvalidArgument("no model instance is configured: name one");
  return TokenizerFor(settings, settings.instances.front().model);
}

}  // namespace rerankd
