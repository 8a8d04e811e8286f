#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/cpu.h"
#include "scheduler/result.h"

namespace rerankd {
namespace {

TimePoint Now() { return SteadyClock::Get().Now(); }

// Copies each pair's logits to its own place in its request.
void Scatter(const MicroBatch& batch, std::span<const float> logits, int num_labels) {
  const auto width = static_cast<size_t>(num_labels);
  for (size_t i = 0; i < batch.pairs.size(); ++i) {
    const QueuedPair& pair = batch.pairs[i];
    std::copy_n(logits.data() + i * width, width,
                pair.rows->logits.data() + static_cast<size_t>(pair.index) * width);
  }
}

// What the caller of a request whose micro-batch failed reads.
Status Blame(const Status& status, const std::string& backend, const Job& first) {
  if (status.code() == Code::kCancelled && first.request.cancel.cancelled()) return status;
  const std::string message = "backend " + backend + " failed: " + status.message();
  // Out of memory: the same request may work later, or in smaller pieces.
  return status.code() == Code::kResourceExhausted ? ResourceExhausted(message) : Internal(message);
}

Status CheckInstances(const std::vector<SchedulerInstance>& instances, PipelineMode mode) {
  if (instances.empty()) return InvalidArgument("the scheduler needs at least one instance");
  for (const SchedulerInstance& instance : instances)
    if (mode != PipelineMode::kTokenizationOnly && instance.workers.empty())
      return InvalidArgument("instance " + instance.name + " has no workers: it needs at least one");
  return {};
}

InstanceSpec SpecOf(const SchedulerInstance& instance) {
  InstanceSpec spec;
  spec.name = instance.name;
  spec.model = instance.model;
  spec.max_length = instance.max_length;
  spec.workers = static_cast<int>(instance.workers.size());
  if (instance.workers.empty()) {
    spec.caps.max_tokens = instance.max_length;
  } else {
    spec.caps = instance.workers.front()->caps();
  }
  return spec;
}

std::vector<InstanceSpec> Specs(const std::vector<SchedulerInstance>& instances) {
  std::vector<InstanceSpec> specs;
  for (const SchedulerInstance& instance : instances) specs.push_back(SpecOf(instance));
  return specs;
}

// Instances that share a tokenizer share cached token ids.
std::vector<std::unique_ptr<PairEncoder>> Encoders(const std::vector<SchedulerInstance>& instances,
                                                   PipelineMode mode, Caches* caches) {
  std::vector<std::unique_ptr<PairEncoder>> encoders;
  std::vector<const Tokenizer*> known;
  for (const SchedulerInstance& instance : instances) {
    if (mode == PipelineMode::kInferenceOnly) {
      encoders.push_back(std::make_unique<SyntheticEncoder>());
      continue;
    }
    auto id = std::find(known.begin(), known.end(), instance.tokenizer);
    if (id == known.end()) id = known.insert(id, instance.tokenizer);
    encoders.push_back(std::make_unique<TokenizingEncoder>(instance.tokenizer, caches,
                                                           static_cast<int>(id - known.begin())));
  }
  return encoders;
}

std::vector<std::unique_ptr<Backend>> TakeBackends(std::vector<SchedulerInstance>* instances) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (SchedulerInstance& instance : *instances)
    std::move(instance.workers.begin(), instance.workers.end(), std::back_inserter(backends));
  return backends;
}

std::vector<std::string> BackendNames(const std::vector<InstanceSpec>& specs) {
  std::vector<std::string> names;
  for (const InstanceSpec& spec : specs)
    for (int i = 0; i < spec.workers; ++i)
      names.push_back("'" + spec.caps.name + "' (instance " + spec.name + ", worker " +
                      std::to_string(names.size()) + ")");
  return names;
}

}  // namespace

Result<std::unique_ptr<Scheduler>> Scheduler::Create(CoreOptions options,
                                                     std::vector<SchedulerInstance> instances,
                                                     const CacheSizes& caches) {
  RERANKD_RETURN_IF_ERROR(CheckInstances(instances, options.mode));
  if (options.mode == PipelineMode::kTokenizationOnly)
    for (SchedulerInstance& instance : instances) instance.workers.clear();
  // Without a tokenizer a score depends on a document's place, not on its text.
  if (options.mode == PipelineMode::kInferenceOnly) options.merge_equal = false;
  options.score_cache = caches.score_bytes > 0 && options.mode == PipelineMode::kFull;
  return std::unique_ptr<Scheduler>(new Scheduler(options, std::move(instances), caches));
}

Scheduler::Scheduler(const CoreOptions& options, std::vector<SchedulerInstance> instances,
                     const CacheSizes& caches)
    : options_(options),
      caches_(caches.document_bytes, options.score_cache ? caches.score_bytes : 0),
      encoders_(Encoders(instances, options.mode, &caches_)),
      backend_names_(BackendNames(Specs(instances))),
      core_(options, Specs(instances)),
      backends_(TakeBackends(&instances)),
      usage_(backends_.size()),
      worker_ready_(static_cast<size_t>(core_.group_count())) {
  for (int i = 0; i < std::max(options.tokenizer_threads, 1); ++i)
    threads_.emplace_back([this, i] { TokenizerLoop(i); });
  for (int i = 0; i < core_.worker_count(); ++i) threads_.emplace_back([this, i] { WorkerLoop(i); });
  threads_.emplace_back([this] { CompletionLoop(); });
}

Scheduler::~Scheduler() {
  Drain();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  tokenizer_ready_.notify_all();
  completion_ready_.notify_all();
  WakeAllWorkers();
  for (std::thread& thread : threads_) thread.join();
}

Status Scheduler::Submit(ScoreRequest request, Completion done) {
  auto job = std::make_shared<Job>(std::move(request), std::move(done), options_.merge_equal);
  bool timer_moved = false;
  {
    std::lock_guard lock(mutex_);
    const auto timer = core_.next_timer();
    RERANKD_RETURN_IF_ERROR(core_.Admit(job, Now()));
    timer_moved = core_.next_timer() != timer;
  }
  tokenizer_ready_.notify_one();
  if (timer_moved) {
    completion_ready_.notify_one();
    WakeAllWorkers();  // a full window was released
  }
  return {};
}

void Scheduler::Drain() {
  std::unique_lock lock(mutex_);
  core_.StopAdmission();
  WakeAllWorkers();
  drained_.wait(lock, [this] { return core_.unfinished() == 0 && !core_.has_finished() && !completing_; });
}

EngineStats Scheduler::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = core_.stats();
  for (const BackendUsage& usage : usage_) {
    stats.usage.host_bytes += usage.host_bytes;
    stats.usage.device_bytes += usage.device_bytes;
    stats.usage.device_utilization = std::max(stats.usage.device_utilization, usage.device_utilization);
  }
  stats.document_cache = caches_.documents.stats();
  stats.score_cache = caches_.scores.stats();
  return stats;
}

void Scheduler::TokenizerLoop(int thread) {
  SetThreadName("tokenizer-" + std::to_string(thread));
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<Slice> slice = core_.NextSlice(Now());
    if (core_.has_finished()) completion_ready_.notify_one();
    if (!slice) {
      if (stopping_) return;
      tokenizer_ready_.wait(lock);
      continue;
    }
    if (core_.has_slices()) tokenizer_ready_.notify_one();
    lock.unlock();
    const TimePoint start = Now();
    const Status status = encoders_[static_cast<size_t>(slice->job->instance)]->Encode(&*slice);
    const Duration took = Now() - start;
    lock.lock();
    const int group = core_.group_of_instance(slice->job->instance);
    const int ready = core_.SliceDone(std::move(*slice), status, took);
    if (core_.has_finished()) completion_ready_.notify_one();
    WakeWorkers(group, ready);
  }
}

void Scheduler::WorkerLoop(int worker) {
  SetThreadName("worker-" + std::to_string(worker));
  MicroBatch batch;
  Batch views;
  std::vector<float> logits;
  bool alive = true;
  SampleUsage(worker);
  while (alive && WaitForBatch(worker, &batch)) {
    alive = Run(worker, batch, &views, &logits);
    batch.Clear();  // outside the lock: it may free a finished request
  }
}

bool Scheduler::WaitForBatch(int worker, MicroBatch* batch) {
  std::unique_lock lock(mutex_);
  while (true) {
    const bool found = core_.NextBatch(worker, Now(), batch);
    if (core_.has_finished()) completion_ready_.notify_one();
    if (found) return true;
    if (stopping_) return false;
    worker_ready_[static_cast<size_t>(core_.group_of(worker))].wait(lock);
  }
}

bool Scheduler::Run(int worker, const MicroBatch& batch, Batch* views, std::vector<float>* logits) {
  Backend* backend = backends_[static_cast<size_t>(worker)].get();
  const int num_labels = backend->caps().num_labels;
  views->Clear();
  for (const QueuedPair& pair : batch.pairs) views->Add(pair.rows->pairs[pair.index]);
  logits->resize(batch.pairs.size() * static_cast<size_t>(num_labels));

  const Job& first = *batch.shares.front().job;
  const CancelFlag& cancel = batch.shares.size() == 1 ? first.request.cancel : never_;
  BatchStats stats;
  const TimePoint start = Now();
  Status status = backend->Score(*views, cancel, *logits, &stats);
  const TimePoint end = Now();
  if (status.ok()) {
    Scatter(batch, *logits, num_labels);
  } else {
    status = Blame(status, backend_names_[static_cast<size_t>(worker)], first);
  }
  const Status health = status.ok() ? Status() : backend->health();

  std::lock_guard lock(mutex_);
  core_.BatchDone(worker, batch, status, stats, start, end);
  if (!health.ok()) core_.WorkerLost(worker, health);
  if (core_.has_finished()) completion_ready_.notify_one();
  if (!health.ok()) WakeAllWorkers();  // what it left behind
  return health.ok();
}

void Scheduler::SampleUsage(int worker) {
  const BackendUsage usage = backends_[static_cast<size_t>(worker)]->usage();
  std::lock_guard lock(mutex_);
  usage_[static_cast<size_t>(worker)] = usage;
}

void Scheduler::CompletionLoop() {
  SetThreadName("completion");
  std::unique_lock lock(mutex_);
  while (true) {
    if (core_.has_finished()) {
      completing_ = true;
      std::vector<Finished> finished = core_.TakeFinished();
      lock.unlock();
      for (const Finished& one : finished) Complete(one);
      finished.clear();
      lock.lock();
      completing_ = false;
      if (core_.unfinished() == 0 && !core_.has_finished()) drained_.notify_all();
      continue;
    }
    if (stopping_) return;
    const std::optional<TimePoint> timer = core_.next_timer();
    if (!timer) {
      completion_ready_.wait(lock);
    } else if (*timer > Now()) {
      completion_ready_.wait_until(lock, *timer);
    } else {
      core_.Tick(Now());
      WakeAllWorkers();
    }
  }
}

void Scheduler::Complete(const Finished& finished) {
  Job* job = finished.job.get();
  if (!finished.status.ok()) return job->done(finished.status);
  Result<ScoreResult> result = TakeResult(job, Now(), options_.score_cache ? &caches_.scores : nullptr);
  if (result.ok() || job->worker < 0) return job->done(std::move(result));
  job->done(Blame(result.status(), backend_names_[static_cast<size_t>(job->worker)], *job));
}

void Scheduler::WakeWorkers(int group, int count) {
  std::condition_variable& ready = worker_ready_[static_cast<size_t>(group)];
  if (count >= core_.worker_count()) return ready.notify_all();
  for (int i = 0; i < count; ++i) ready.notify_one();
}

void Scheduler::WakeAllWorkers() {
  for (std::condition_variable& ready : worker_ready_) ready.notify_all();
}

}  // namespace rerankd
