#include "scheduler/scheduler_core.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace rerankd {
namespace {

constexpr int kSliceDocuments = 64;
constexpr size_t kSliceBytes = 128 << 10;
// Cancelled requests that wait are noticed at this interval; they are never computed in any case.
constexpr Duration kSweepInterval = std::chrono::milliseconds(10);

bool SameKind(const InstanceSpec& a, const InstanceSpec& b) {
  const auto key = [](const InstanceSpec& s) {
    return std::tie(s.caps.name, s.caps.device, s.caps.precision, s.caps.padded, s.caps.max_tokens,
                    s.caps.max_rows, s.caps.num_labels, s.caps.batch_tokens, s.max_length);
  };
  return key(a) == key(b);
}

int64_t PreferredTokens(const CoreOptions& options, const BackendCaps& caps) {
  return std::max<int64_t>(options.batch_tokens > 0 ? options.batch_tokens : caps.batch_tokens, 1);
}

// What all workers of an instance take in one round, at least two micro-batches.
int64_t Quantum(const CoreOptions& options, const InstanceSpec& spec) {
  return PreferredTokens(options, spec.caps) * std::max(spec.workers, 2);
}

Status LapseOf(const Job& job, TimePoint now) {
  if (job.request.cancel.cancelled()) return Cancelled("the request was cancelled");
  return DeadlineExceeded("the deadline passed " +
                          std::to_string(static_cast<int64_t>(ToMs(now - *job.request.deadline))) +
                          " ms ago, before the work was done");
}

}  // namespace

Result<PipelineMode> ParsePipelineMode(std::string_view name) {
  const std::vector<std::string> names = {"full", "tokenization_only", "inference_only"};
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<PipelineMode>(i);
  return InvalidArgument("pipeline_mode '" + std::string(name) + "' is not one of " + Join(names, ", ") +
                         Hint(name, names));
}

SchedulerCore::SchedulerCore(const CoreOptions& options, std::vector<InstanceSpec> instances)
    : options_(options) {
  for (InstanceSpec& spec : instances) {
    const int id = static_cast<int>(instances_.size());
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) {
      return SameKind(instances_[static_cast<size_t>(g.instances.front())].spec, spec);
    });
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{});
    group->instances.push_back(id);
    group->live_workers += spec.workers;
    for (int i = 0; i < spec.workers; ++i) {
      workers_.emplace_back();
      workers_.back().stats.instance = id;
    }
    const bool by_length = spec.caps.padded || (options.window.enabled && options.window.length_aware);
    instances_.push_back({spec, static_cast<int>(group - groups_.begin()), spec.workers, 0,
                          FairQueue(Quantum(options, spec), by_length), BatchWindow(options.window)});
  }
}

void SchedulerCore::StopAdmission() {
  stopped_ = true;
  CloseWindows({}, true);
}

Status SchedulerCore::Admit(const std::shared_ptr<Job>& job, TimePoint now) {
  job->accepted = now;
  RERANKD_RETURN_IF_ERROR(CheckRequest(job.get(), now));
  const int last = last_instance_;
  RERANKD_RETURN_IF_ERROR(Route(job.get()));
  job->queued_cost = EstimateTokens(job->request, 0, job->size());
  if (Status room = CheckRoom(*job, now); !room.ok()) {
    last_instance_ = last;  // a refused request takes no turn
    if (room.code() == Code::kResourceExhausted) ++counters_.rejected;
    return room;
  }
  job->position = jobs_.insert(jobs_.end(), job);
  Enqueue(job.get());
  return {};
}

Status SchedulerCore::CheckRequest(Job* job, TimePoint now) {
  ScoreRequest& request = job->request;
  if (stopped_) return Unavailable("the server is draining: send new requests elsewhere");
  if (request.documents.empty()) return InvalidArgument("the request has no documents: send at least one");
  for (int i = 0; i < job->size(); ++i) {
    const uint32_t query = request.documents[static_cast<size_t>(i)].query;
    if (query >= request.queries.size())
      return InvalidArgument("document " + std::to_string(i) + " refers to query " + std::to_string(query) +
                             " of " + std::to_string(request.queries.size()));
  }
  if (!request.deadline && options_.default_deadline_ms > 0)
    request.deadline = now + FromMs(options_.default_deadline_ms);
  return job->Lapsed(now) ? LapseOf(*job, now) : Status();
}

Status SchedulerCore::Route(Job* job) {
  std::vector<InstanceLoad> loads;
  loads.reserve(instances_.size());
  const bool needs_workers = options_.mode != PipelineMode::kTokenizationOnly;
  for (const Instance& instance : instances_)
    loads.push_back({!needs_workers || instance.live_workers > 0, instance.requests});
  job->instance = ChooseInstance(options_.routing, loads, last_instance_);
  if (job->instance < 0) return lost_reason_;
  last_instance_ = job->instance;
  const InstanceSpec& spec = home(*job).spec;
  PairOptions& pairs = job->request.pair_options;
  pairs.max_length = std::min({pairs.max_length, spec.max_length, spec.caps.max_tokens});
  job->num_labels = spec.caps.num_labels;
  return {};
}

// What the fair queue may serve before this request: of every other one no more than this one's cost and one
// quantum.
int64_t SchedulerCore::TokensAhead(const Job& job) const {
  const int group = home(job).group;
  const int64_t most = job.queued_cost + Quantum(options_, home(job).spec);
  int64_t ahead = 0;
  for (const auto& other : jobs_)
    if (home(*other).group == group) ahead += std::min(other->queued_cost, most);
  return ahead;
}

double SchedulerCore::WaitMs(const Job& job, double limit_ms) const {
  const Group& group = groups_[static_cast<size_t>(home(job).group)];
  const double tokenizer =
      EstimatedWaitMs(untokenized_, tokenizer_rate_.per_second() * options_.tokenizer_threads);
  double workers = EstimatedWaitMs(group.queued_cost, group.tokens_per_second());
  // The exact walk over all requests only where the cheap upper bound would refuse.
  if (workers > limit_ms) workers = EstimatedWaitMs(TokensAhead(job), group.tokens_per_second());
  return std::max(tokenizer, workers);
}

Status SchedulerCore::CheckRoom(const Job& job, TimePoint now) const {
  std::optional<Duration> time_left;
  double limit_ms = options_.admission.max_queue_ms;
  if (job.request.deadline) {
    time_left = *job.request.deadline - now;
    limit_ms = std::min(limit_ms, ToMs(*time_left));
  }
  const AdmissionView view{unfinished(), queued_cost_, WaitMs(job, limit_ms)};
  return CheckAdmission(options_.admission, view, job.queued_cost, time_left);
}

void SchedulerCore::Enqueue(Job* job) {
  Instance& instance = home(*job);
  const auto n = static_cast<size_t>(job->size());
  job->pending_pairs = job->size();
  job->queries = std::make_unique<EncodedQuery[]>(job->request.queries.size());
  job->pairs.resize(n);
  job->tokens.resize(n);
  job->truncated.resize(n);
  if (options_.mode != PipelineMode::kTokenizationOnly)
    job->logits.resize(n * static_cast<size_t>(job->num_labels));

  const int64_t cost = std::exchange(job->queued_cost, 0);
  Charge(job, cost);
  untokenized_ += cost;
  ++instance.requests;
  if (job->request.deadline) deadlines_.emplace(*job->request.deadline, job);
  tokenizer_ring_.push_back(job->shared_from_this());

  job->flow = next_flow_++;
  bool full = false;
  if (options_.window.enabled) {
    const auto joined = instance.window.Join(job->flow, job->accepted);
    job->flow = joined.window;
    full = joined.full;
    Held& held = held_[job->flow];
    held.instance = job->instance;
    ++held.unencoded;
  }
  const std::string& tenant = options_.window.enabled ? std::string() : job->request.tenant;
  const auto weight = options_.tenant_weights.find(tenant);
  instance.queue.Open(job->flow, tenant, weight == options_.tenant_weights.end() ? 1 : weight->second,
                      options_.window.enabled);
  if (full) CloseWindow(job->flow);
}

std::optional<Slice> SchedulerCore::NextSlice(TimePoint now) {
  while (!tokenizer_ring_.empty()) {
    Slice slice;
    slice.job = std::move(tokenizer_ring_.front());
    tokenizer_ring_.pop_front();
    Job* job = slice.job.get();
    if (job->Lapsed(now)) {
      FinishLapsed(job, now);
      continue;
    }
    size_t bytes = 0;
    slice.begin = slice.end = job->next_document;
    while (slice.end < job->size() && slice.end - slice.begin < kSliceDocuments && bytes < kSliceBytes)
      bytes += job->request.documents[static_cast<size_t>(slice.end++)].text.size();
    slice.estimate = EstimateTokens(job->request, slice.begin, slice.end);
    job->next_document = slice.end;
    if (job->stage == Job::Stage::kWaiting) {
      job->stage = Job::Stage::kTokenizing;
      if (options_.mode == PipelineMode::kTokenizationOnly) job->first_start = now;
    }
    if (slice.end < job->size()) tokenizer_ring_.push_back(slice.job);
    return slice;
  }
  return std::nullopt;
}

int SchedulerCore::SliceDone(Slice slice, const Status& status, Duration took) {
  Job* job = slice.job.get();
  untokenized_ -= slice.estimate;
  job->tokenize_time += took;
  if (!status.ok()) {
    Finish(job, status);
    return 0;
  }
  const int64_t tokens = slice.encoded->tokens();
  tokenizer_rate_.Add(tokens, took);
  if (job->finished) return 0;
  Charge(job, tokens - slice.estimate);
  job->counts.real += tokens;
  std::vector<QueuedPair> pairs;
  pairs.reserve(static_cast<size_t>(slice.end - slice.begin));
  for (int i = slice.begin; i < slice.end; ++i) {
    const auto at = static_cast<size_t>(i);
    pairs.push_back({job, i, job->tokens[at]});
    job->counts.longest = std::max(job->counts.longest, job->tokens[at]);
    job->counts.truncated_pairs += job->truncated[at];
  }
  job->slices.push_back(std::move(slice.encoded));
  job->encoded += slice.end - slice.begin;
  if (options_.mode == PipelineMode::kTokenizationOnly) {
    job->pending_pairs -= slice.end - slice.begin;
    if (job->pending_pairs == 0) Finish(job, {});
    return 0;
  }
  if (job->stage == Job::Stage::kTokenizing) job->stage = Job::Stage::kReady;
  Instance& instance = home(*job);
  instance.queue.Push(job->flow, pairs);
  if (job->encoded == job->size()) NoteEncoded(*job);
  const int64_t budget = LimitsFor(instance).budget;
  return static_cast<int>((tokens + budget - 1) / budget);
}

SchedulerCore::Instance* SchedulerCore::QueueFor(int worker) {
  Instance* own = &instances_[static_cast<size_t>(instance_of(worker))];
  if (!own->queue.empty()) return own;
  Instance* longest = nullptr;
  for (const int i : groups_[static_cast<size_t>(own->group)].instances) {
    Instance* other = &instances_[static_cast<size_t>(i)];
    if (!other->queue.empty() && (longest == nullptr || other->queue.tokens() > longest->queue.tokens()))
      longest = other;
  }
  return longest;
}

// New flows share the workers among themselves first: a small one must not wait for a micro-batch that was
// sized by the large ones behind it.
int64_t SchedulerCore::Backlog(const Instance& instance, int64_t enough) const {
  const int64_t fresh = instance.queue.FreshTokens(enough);
  if (fresh > 0) return fresh;
  const Group& group = groups_[static_cast<size_t>(instance.group)];
  return std::max<int64_t>(group.queued_cost - group.running_cost, 0);
}

BatchLimits SchedulerCore::LimitsFor(const Instance& instance) const {
  const Group& group = groups_[static_cast<size_t>(instance.group)];
  const BackendCaps& caps = instance.spec.caps;
  BudgetView view;
  view.batch_tokens = PreferredTokens(options_, caps);
  view.padded = caps.padded;
  view.workers = group.live_workers;
  view.backlog = Backlog(instance, view.batch_tokens * view.workers);
  view.units_per_second = group.units.per_second();
  view.max_quantum_ms = options_.max_quantum_ms;
  return {BatchBudget(view), caps.max_rows, caps.padded};
}

bool SchedulerCore::NextBatch(int worker, TimePoint now, MicroBatch* batch) {
  batch->Clear();
  if (now >= next_sweep_) Tick(now);
  while (Instance* instance = QueueFor(worker)) {
    const BatchLimits limits = LimitsFor(*instance);
    while (Job* lapsed = TakeBatch(limits, now, &instance->queue, batch)) FinishLapsed(lapsed, now);
    if (!batch->pairs.empty()) break;  // else all that waited there had lapsed
  }
  groups_[static_cast<size_t>(group_of(worker))].running_cost += batch->tokens;
  for (const MicroBatch::Share& share : batch->shares) {
    Job* job = share.job.get();
    job->dispatched += share.rows;
    if (job->stage == Job::Stage::kRunning) continue;
    job->stage = Job::Stage::kRunning;
    job->first_start = now;
    job->worker = worker;
    ++workers_[static_cast<size_t>(worker)].stats.requests;
  }
  return !batch->pairs.empty();
}

void SchedulerCore::BatchDone(int worker, const MicroBatch& batch, const Status& status,
                              const BatchStats& stats, TimePoint start, TimePoint end) {
  ++workers_[static_cast<size_t>(worker)].stats.batches;
  groups_[static_cast<size_t>(group_of(worker))].running_cost -= batch.tokens;
  if (status.ok()) Count(worker, batch, stats, end - start);
  const bool exact = stats.padded_tokens == batch.tokens;  // nothing was padded
  for (const MicroBatch::Share& share : batch.shares) {
    Job* job = share.job.get();
    if (job->finished) continue;
    if (!status.ok()) {
      Finish(job, status);
      continue;
    }
    Charge(job, -share.tokens);
    const auto rows = static_cast<int64_t>(batch.pairs.size());
    job->counts.computed += exact ? share.tokens : stats.padded_tokens * share.rows / rows;
    job->compute_ms +=
        stats.compute_ms * static_cast<double>(share.tokens) / static_cast<double>(batch.tokens);
    job->last_end = std::max(job->last_end, end);
    job->pending_pairs -= share.rows;
    if (job->pending_pairs == 0) Finish(job, {});
  }
}

void SchedulerCore::Count(int worker, const MicroBatch& batch, const BatchStats& stats, Duration busy) {
  WorkerStats& count = workers_[static_cast<size_t>(worker)].stats;
  count.pairs += static_cast<int64_t>(batch.pairs.size());
  count.tokens += batch.tokens;
  count.padded_tokens += stats.padded_tokens;
  count.busy_ms += ToMs(busy);
  const auto tokens = static_cast<double>(batch.tokens);
  const BackendCaps& caps = instances_[static_cast<size_t>(count.instance)].spec.caps;
  count.batch_tokens.Add(kBatchTokenBounds, tokens);
  count.batch_fill.Add(kBatchFillBounds, tokens / static_cast<double>(PreferredTokens(options_, caps)));
  Group& group = groups_[static_cast<size_t>(group_of(worker))];
  group.tokens.Add(batch.tokens, busy);
  group.units.Add(stats.padded_tokens, busy);
}

void SchedulerCore::WorkerLost(int worker, const Status& reason) {
  Worker& lost = workers_[static_cast<size_t>(worker)];
  if (!lost.alive) return;
  lost.alive = false;
  Instance& instance = instances_[static_cast<size_t>(lost.stats.instance)];
  --instance.live_workers;
  lost_reason_ = Unavailable("no worker is left, the last one was of " + instance.spec.name + ": " +
                             reason.message() + "; restart the server");
  if (--groups_[static_cast<size_t>(instance.group)].live_workers == 0)
    FailGroup(instance.group, lost_reason_);
}

void SchedulerCore::FailGroup(int group, const Status& status) {
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job* job = (it++)->get();
    if (home(*job).group == group) Finish(job, status);
  }
}

void SchedulerCore::Tick(TimePoint now) {
  next_sweep_ = now + kSweepInterval;
  CloseWindows(now, false);
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    FinishLapsed(deadlines_.begin()->second, now);
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job* job = (it++)->get();
    if (job->request.cancel.cancelled()) FinishLapsed(job, now);
  }
}

void SchedulerCore::CloseWindows(TimePoint now, bool all) {
  for (Instance& instance : instances_) {
    const TimePoint at = all && instance.window.closes() ? *instance.window.closes() : now;
    if (const uint64_t window = instance.window.CloseAt(at); window != 0) CloseWindow(window);
  }
}

void SchedulerCore::CloseWindow(uint64_t flow) {
  const auto held = held_.find(flow);
  if (held == held_.end()) return;  // all its requests were given up
  held->second.closed = true;
  ReleaseIfComplete(flow);
}

void SchedulerCore::NoteEncoded(const Job& job) {
  const auto held = held_.find(job.flow);
  if (held == held_.end()) return;
  --held->second.unencoded;
  ReleaseIfComplete(job.flow);
}

void SchedulerCore::ReleaseIfComplete(uint64_t flow) {
  const auto held = held_.find(flow);
  if (!held->second.closed || held->second.unencoded > 0) return;
  instances_[static_cast<size_t>(held->second.instance)].queue.Release(flow);
  held_.erase(held);
}

std::optional<TimePoint> SchedulerCore::next_timer() const {
  std::optional<TimePoint> next;
  if (!deadlines_.empty()) next = deadlines_.begin()->first;
  for (const Instance& instance : instances_)
    if (const auto closes = instance.window.closes()) next = next ? std::min(*next, *closes) : closes;
  return next;
}

void SchedulerCore::Charge(Job* job, int64_t cost) {
  job->queued_cost += cost;
  queued_cost_ += cost;
  groups_[static_cast<size_t>(home(*job).group)].queued_cost += cost;
}

void SchedulerCore::FinishLapsed(Job* job, TimePoint now) {
  if (job->finished) return;
  ++(job->request.cancel.cancelled() ? counters_.cancelled : counters_.expired);
  Finish(job, LapseOf(*job, now));
}

void SchedulerCore::Finish(Job* job, Status status) {
  if (job->finished) return;
  job->finished = true;
  Instance& instance = home(*job);
  instance.queue.Close(*job);
  if (job->encoded < job->size()) NoteEncoded(*job);  // nothing more will come of it
  --instance.requests;
  Charge(job, -job->queued_cost);
  untokenized_ -= EstimateTokens(job->request, job->next_document, job->size());
  if (!status.ok()) counters_.dropped_pairs += job->size() - job->dispatched;
  if (job->request.deadline) deadlines_.erase({*job->request.deadline, job});
  if (job->next_document < job->size()) std::erase(tokenizer_ring_, job->shared_from_this());
  finished_.push_back({*job->position, std::move(status)});
  jobs_.erase(job->position);
}

int64_t SchedulerCore::waiting_tokens(int group) const {
  int64_t tokens = 0;
  for (const int i : groups_[static_cast<size_t>(group)].instances)
    tokens += instances_[static_cast<size_t>(i)].queue.tokens();
  return tokens;
}

EngineStats SchedulerCore::stats() const {
  EngineStats stats = counters_;
  for (const Worker& worker : workers_) stats.workers.push_back(worker.stats);
  stats.queued_requests = unfinished();
  stats.queued_tokens = queued_cost_;
  for (const auto& job : jobs_) {
    stats.tokenizer_queue += job->stage == Job::Stage::kWaiting;
    stats.model_queue += job->stage == Job::Stage::kReady;
  }
  return stats;
}

}  // namespace rerankd
