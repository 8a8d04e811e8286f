#include "scheduler/scheduler_core.h"

#include <algorithm>
#include <span>
#include <tuple>

#include "base/text.h"
#include "scheduler/overflow.h"

namespace rerankd {
namespace {

constexpr int kSliceUnits = 64;
constexpr size_t kSliceBytes = 128 << 10;
constexpr double kLeastWeight = 1e-3;
// Cancelled requests that wait are noticed at this interval; they are never computed in any case.
constexpr Duration kSweepInterval = std::chrono::milliseconds(10);

bool SameKind(const InstanceSpec& a, const InstanceSpec& b) {
  const auto key = [](const InstanceSpec& s) {
    return std::tie(s.model, s.caps.name, s.caps.device, s.caps.precision, s.caps.padded, s.caps.max_tokens,
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

// Tokens that units [begin, end) are charged before they are tokenised.
int64_t Estimate(const Job& job, int begin, int end) {
  return EstimateTokens(job.request, std::span(job.units).subspan(static_cast<size_t>(begin),
                                                                  static_cast<size_t>(end - begin)));
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
    last_instance_[spec.model] = -1;
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
  const auto last = last_instance_.find(job->request.model);
  if (last == last_instance_.end()) return NotFound("no instance has model '" + job->request.model + "'");
  RERANKD_RETURN_IF_ERROR(Route(job.get(), last->second));
  job->queued_cost = Estimate(*job, 0, job->size());
  if (Status room = CheckRoom(*job, now); !room.ok()) {
    if (room.code() == Code::kResourceExhausted) ++counters_.rejected;
    return room;
  }
  last->second = job->instance;  // a refused request takes no turn
  job->position = jobs_.insert(jobs_.end(), job);
  Enqueue(job.get());
  return {};
}

Status SchedulerCore::CheckRequest(Job* job, TimePoint now) {
  ScoreRequest& request = job->request;
  if (stopped_) return Unavailable("the server is draining: send new requests elsewhere");
  if (request.documents.empty()) return InvalidArgument("the request has no documents: send at least one");
  for (size_t i = 0; i < request.documents.size(); ++i) {
    const uint32_t query = request.documents[i].query;
    if (query >= request.queries.size())
      return InvalidArgument("document " + std::to_string(i) + " refers to query " + std::to_string(query) +
                             " of " + std::to_string(request.queries.size()));
  }
  if (request.model.empty()) request.model = instances_.front().spec.model;
  if (!request.deadline && options_.default_deadline_ms > 0)
    request.deadline = now + FromMs(options_.default_deadline_ms);
  return job->Lapsed(now) ? LapseOf(*job, now) : Status();
}

Status SchedulerCore::Route(Job* job, int last) {
  std::vector<InstanceLoad> loads;
  loads.reserve(instances_.size());
  const bool needs_workers = options_.mode != PipelineMode::kTokenizationOnly;
  for (const Instance& instance : instances_) {
    const bool works = !needs_workers || instance.live_workers > 0;
    loads.push_back({works && instance.spec.model == job->request.model, instance.requests});
  }
  job->instance = ChooseInstance(options_.routing, loads, last);
  if (job->instance < 0) return lost_reason_;
  job->group = home(*job).group;
  const InstanceSpec& spec = home(*job).spec;
  PairOptions& pairs = job->request.pair_options;
  pairs.max_length = std::min({pairs.max_length, spec.max_length, spec.caps.max_tokens});
  job->num_labels = spec.caps.num_labels;
  return SettleOverflow(options_.documents, &job->request);
}

// What the fair queue may serve before this request is done: of every other one no more than this one's cost
// and one quantum. What is scored of the others counts too: requests that come later take its place.
int64_t SchedulerCore::TokensAhead(const Job& job) const {
  const int group = home(job).group;
  const int64_t most = job.queued_cost + Quantum(options_, home(job).spec);
  int64_t ahead = 0;
  for (const auto& other : jobs_)
    if (home(*other).group == group) ahead += std::min(other->cost, most);
  return ahead;
}

double SchedulerCore::WaitMs(const Job& job, double limit_ms) const {
  const Group& group = groups_[static_cast<size_t>(home(job).group)];
  const double tokenizer =
      EstimatedWaitMs(untokenized_, tokenizer_rate_.per_second() * options_.tokenizer_threads);
  double workers = EstimatedWaitMs(group.cost, group.tokens_per_second());
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
  job->queries = std::make_unique<EncodedQuery[]>(job->request.queries.size());
  job->tokens.resize(n);
  job->truncated.resize(n);
  job->cached.resize(n);
  if (options_.score_cache) job->keys.resize(n);
  counters_.duplicate_documents += static_cast<int64_t>(job->request.documents.size() - n);
  if (options_.mode != PipelineMode::kTokenizationOnly)
    job->logits.resize(n * static_cast<size_t>(job->num_labels));

  const int64_t cost = std::exchange(job->queued_cost, 0);
  Recost(job, cost);
  untokenized_ += cost;
  ++instance.requests;
  if (job->request.deadline) deadlines_.emplace(*job->request.deadline, job);
  tokenizer_ring_.push_back(job->shared_from_this());

  job->flow = next_flow_++;
  bool full = false;
  if (options_.window.enabled) {
    const auto joined = instance.window.Join(job->flow, job->accepted, cost);
    job->flow = joined.window;
    full = joined.full;
    Held& held = held_[job->flow];
    held.instance = job->instance;
    ++held.unencoded;
  }
  const bool shared = options_.window.enabled;  // by several tenants
  instance.queue.Open(job->flow, shared ? std::string() : job->request.tenant,
                      shared ? 1 : std::max(kLeastWeight, job->request.weight), shared);
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
    slice.begin = slice.end = job->next_unit;
    while (slice.end < job->size() && slice.end - slice.begin < kSliceUnits && bytes < kSliceBytes)
      bytes += job->document(slice.end++).text.size();
    slice.estimate = Estimate(*job, slice.begin, slice.end);
    job->next_unit = slice.end;
    if (job->stage == Job::Stage::kWaiting) {
      job->stage = Job::Stage::kTokenizing;
      if (options_.mode == PipelineMode::kTokenizationOnly) job->first_start = now;
    }
    if (slice.end < job->size() && options_.spread_slices) tokenizer_ring_.push_back(slice.job);
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
  tokenizer_rate_.Add(slice.estimate, took);  // what waits is estimated too
  if (job->finished) return 0;
  if (!options_.spread_slices && job->next_unit < job->size()) tokenizer_ring_.push_back(slice.job);
  job->encoded += slice.end - slice.begin;
  const int64_t tokens = slice.encoded->pairs.tokens();
  Recost(job, tokens - slice.estimate);
  if (options_.mode == PipelineMode::kTokenizationOnly) {
    CountRows(job, *slice.encoded);
    Charge(job, -tokens);
  } else {
    TakeRows(job, std::move(slice.encoded));
  }
  if (job->encoded == job->size()) {
    NoteEncoded(*job);
    if (job->pending_rows == 0) Finish(job, {});
  }
  if (job->finished) return 0;
  const int64_t budget = LimitsFor(home(*job)).budget;
  return static_cast<int>((tokens + budget - 1) / budget);
}

void SchedulerCore::CountRows(Job* job, const EncodedRows& rows) {
  for (int row = 0; row < rows.pairs.size(); ++row)
    job->counts.longest = std::max(job->counts.longest, rows.pairs.length(row));
  job->counts.real += rows.pairs.tokens();
  job->rows += rows.pairs.size();
  // Rows of a unit stand together: all but the first are further windows.
  for (size_t row = 1; row < rows.units.size(); ++row)
    counters_.extra_windows += rows.units[row] == rows.units[row - 1];
}

// Queues what a tokenizer thread has made for the workers.
void SchedulerCore::TakeRows(Job* job, std::unique_ptr<EncodedRows> rows) {
  CountRows(job, *rows);
  if (rows->units.empty()) return;
  std::vector<QueuedPair> queued;
  queued.reserve(rows->units.size());
  for (int row = 0; row < rows->pairs.size(); ++row)
    queued.push_back({job, row, rows->pairs.length(row), rows.get()});
  job->pending_rows += rows->pairs.size();
  job->slices.push_back(std::move(rows));
  if (job->stage == Job::Stage::kTokenizing) job->stage = Job::Stage::kReady;
  home(*job).queue.Push(job->flow, queued);
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
    job->pending_rows -= share.rows;
    if (job->pending_rows == 0 && job->encoded == job->size()) Finish(job, {});
  }
}

void SchedulerCore::Count(int worker, const MicroBatch& batch, const BatchStats& stats, Duration busy) {
  WorkerStats& count = workers_[static_cast<size_t>(worker)].stats;
  count.pairs += static_cast<int64_t>(batch.pairs.size());
  count.tokens += batch.tokens;
  count.padded_tokens += stats.padded_tokens;
  count.multiply_adds += stats.multiply_adds;
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
  if (!std::exchange(lost.stats.alive, false)) return;
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

void SchedulerCore::Recost(Job* job, int64_t cost) {
  job->cost += cost;
  groups_[static_cast<size_t>(home(*job).group)].cost += cost;
  Charge(job, cost);
}

void SchedulerCore::FinishLapsed(Job* job, TimePoint now) {
  if (!job->finished) Finish(job, LapseOf(*job, now));
}

void SchedulerCore::Finish(Job* job, Status status) {
  if (job->finished) return;
  job->finished = true;
  if (status.code() == Code::kCancelled) ++counters_.cancelled;
  if (status.code() == Code::kDeadlineExceeded) ++counters_.expired;
  Instance& instance = home(*job);
  instance.queue.Close(*job);
  if (job->encoded < job->size()) NoteEncoded(*job);  // nothing more will come of it
  --instance.requests;
  Charge(job, -job->queued_cost);
  groups_[static_cast<size_t>(home(*job).group)].cost -= job->cost;
  untokenized_ -= Estimate(*job, job->next_unit, job->size());
  if (!status.ok()) counters_.dropped_pairs += job->size() - job->encoded + job->rows - job->dispatched;
  if (job->request.deadline) deadlines_.erase({*job->request.deadline, job});
  if (job->next_unit < job->size()) std::erase(tokenizer_ring_, job->shared_from_this());
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
