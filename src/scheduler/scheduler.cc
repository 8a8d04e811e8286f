#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/cpu.h"

namespace rerankd {
namespace {

TimePoint Now() { return SteadyClock::Get().Now(); }

// Copies each pair's logits to its own place in its request.
void Scatter(const MicroBatch& batch, std::span<const float> logits, int num_labels) {
  const auto width = static_cast<size_t>(num_labels);
  for (size_t i = 0; i < batch.pairs.size(); ++i) {
    const QueuedPair& pair = batch.pairs[i];
    std::copy_n(logits.data() + i * width, width,
                pair.job->logits.data() + static_cast<size_t>(pair.index) * width);
  }
}

double SpanMs(TimePoint from, TimePoint to) { return to > from ? ToMs(to - from) : 0; }

ScoreResult ResultOf(Job* job, TimePoint now) {
  ScoreResult result;
  result.logits = std::move(job->logits);
  result.num_labels = job->num_labels;
  result.tokens = std::move(job->tokens);
  result.truncated = std::move(job->truncated);
  result.timings.queue_ms = SpanMs(job->accepted, job->first_start);
  result.timings.tokenize_ms = ToMs(job->tokenize_time);
  result.timings.inference_ms = SpanMs(job->first_start, job->last_end);
  result.timings.compute_ms = job->compute_ms;
  result.timings.total_ms = SpanMs(job->accepted, now);
  result.counts = job->counts;
  result.counts.pairs = job->size();
  result.worker = job->worker;
  return result;
}

void Complete(const Finished& finished) {
  Job* job = finished.job.get();
  if (finished.status.ok()) {
    job->done(ResultOf(job, Now()));
  } else {
    job->done(finished.status);
  }
}

// What the caller of a request whose micro-batch failed reads.
Status Blame(const Status& status, const std::string& backend, const Job& first) {
  if (status.code() == Code::kCancelled && first.request.cancel.cancelled()) return status;
  return Internal("backend " + backend + " failed: " + status.message());
}

Status CheckInstances(const std::vector<SchedulerInstance>& instances, PipelineMode mode) {
  if (mode != PipelineMode::kTokenizationOnly && instances.empty())
    return InvalidArgument("the scheduler needs at least one instance");
  for (const SchedulerInstance& instance : instances)
    if (instance.workers.empty())
      return InvalidArgument("instance " + instance.name + " has no workers: it needs at least one");
  return {};
}

std::vector<InstanceSpec> Specs(const std::vector<SchedulerInstance>& instances, int max_length) {
  if (instances.empty()) {
    InstanceSpec tokenizer{"tokenizer", {}, max_length, 0};
    tokenizer.caps.max_tokens = max_length;
    return {tokenizer};
  }
  std::vector<InstanceSpec> specs;
  for (const SchedulerInstance& instance : instances)
    specs.push_back({instance.name, instance.workers.front()->caps(), instance.max_length,
                     static_cast<int>(instance.workers.size())});
  return specs;
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

Result<std::unique_ptr<Scheduler>> Scheduler::Create(const CoreOptions& options, const Tokenizer* tokenizer,
                                                     std::vector<SchedulerInstance> instances,
                                                     int max_length) {
  if (options.mode == PipelineMode::kTokenizationOnly) instances.clear();
  RERANKD_RETURN_IF_ERROR(CheckInstances(instances, options.mode));
  std::unique_ptr<PairEncoder> encoder;
  if (options.mode == PipelineMode::kInferenceOnly) {
    encoder = std::make_unique<SyntheticEncoder>();
  } else {
    encoder = std::make_unique<TokenizingEncoder>(tokenizer);
  }
  std::vector<InstanceSpec> specs = Specs(instances, max_length);
  std::vector<std::unique_ptr<Backend>> backends;
  for (SchedulerInstance& instance : instances)
    std::move(instance.workers.begin(), instance.workers.end(), std::back_inserter(backends));
  return std::unique_ptr<Scheduler>(
      new Scheduler(options, std::move(encoder), std::move(specs), std::move(backends)));
}

Scheduler::Scheduler(const CoreOptions& options, std::unique_ptr<PairEncoder> encoder,
                     std::vector<InstanceSpec> specs, std::vector<std::unique_ptr<Backend>> backends)
    : encoder_(std::move(encoder)),
      backends_(std::move(backends)),
      backend_names_(BackendNames(specs)),
      core_(options, std::move(specs)),
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
  auto job = std::make_shared<Job>(std::move(request), std::move(done));
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
    const Status status = encoder_->Encode(&*slice);
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
  for (const QueuedPair& pair : batch.pairs) views->Add(pair.job->pairs[static_cast<size_t>(pair.index)]);
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

void Scheduler::WakeWorkers(int group, int count) {
  std::condition_variable& ready = worker_ready_[static_cast<size_t>(group)];
  if (count >= core_.worker_count()) return ready.notify_all();
  for (int i = 0; i < count; ++i) ready.notify_one();
}

void Scheduler::WakeAllWorkers() {
  for (std::condition_variable& ready : worker_ready_) ready.notify_all();
}

}  // namespace rerankd
