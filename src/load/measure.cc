#include "load/measure.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "base/file.h"
#include "load/arrivals.h"
#include "load/max_rate.h"
#include "load/process_usage.h"
#include "load/request_log.h"
#include "load/result.h"

namespace rerankd::load {
namespace {

constexpr double kDefaultSeconds = 10;
constexpr int kWarmUpOpen = 2;  // requests in flight: busy, no queue of note
constexpr double kAloneSeconds = 20;
constexpr double kFirstShare = 0.8;     // of the capacity: where the search for the highest rate begins
constexpr double kFewestOfTrial = 100;  // requests: a hundredth of them may miss the limit
constexpr double kMissedShare = 0.01;

Status CheckOptions(const LoadOptions& o) {
  if (o.documents < 1)
    return InvalidArgument(fmt::format("--docs-per-request {} is not at least 1", o.documents));
  if (o.concurrency < 1)
    return InvalidArgument(fmt::format("--concurrency {} is not at least 1", o.concurrency));
  if (o.rate && !(*o.rate > 0)) return InvalidArgument(fmt::format("--rate {} is not above 0", *o.rate));
  if (o.rate_share && !(*o.rate_share > 0 && *o.rate_share <= 10))
    return InvalidArgument(fmt::format("--rate {:g}% is not above 0 and at most 1000%", 100 * *o.rate_share));
  if (o.ideal && !o.rate && !o.rate_share)
    return InvalidArgument(
        "--ideal compares the latencies of an open loop: give --rate too, such as --rate 80%");
  if (o.requests && *o.requests < 1)
    return InvalidArgument(fmt::format("--requests {} is not at least 1", *o.requests));
  if (o.duration_s && !(*o.duration_s > 0))
    return InvalidArgument(fmt::format("--duration {} is not above 0", *o.duration_s));
  if (o.repeats < 1) return InvalidArgument(fmt::format("--repeats {} is not at least 1", o.repeats));
  if (o.max_in_flight < 1)
    return InvalidArgument(fmt::format("--max-in-flight {} is not at least 1", o.max_in_flight));
  if (!o.log.empty()) RERANKD_RETURN_IF_ERROR(CheckLogName(o.log));
  std::error_code unknown;
  if (!o.log.empty() && std::filesystem::equivalent(o.log, o.replay, unknown))
    return InvalidArgument(fmt::format("--log would overwrite what --replay reads: {}", o.replay));
  if (!o.replay.empty() && (o.requests || o.duration_s))
    return InvalidArgument(
        "--replay sends all requests of its log: it goes without --requests and --duration");
  if (o.arrivals != "poisson" && o.arrivals != "constant")
    return InvalidArgument(fmt::format("--arrivals '{}' is not poisson or constant", o.arrivals));
  return {};
}

struct Plan {
  LoadPlan load;
  std::unique_ptr<Arrivals> arrivals;
  std::string mode;
};

bool IsOpen(const LoadOptions& o) { return o.rate || o.rate_share || !o.replay.empty(); }

ArrivalSpec SpecOf(const LoadOptions& o, int64_t dataset_pairs) {
  ArrivalSpec spec{o.documents, dataset_pairs, o.requests, o.duration_s};
  if (!o.requests && !o.duration_s) spec.duration_s = kDefaultSeconds;
  return spec;
}

// `rate`: of an open loop that is no replay. `repeat`, from 0: other arrivals in each.
Result<Plan> MakePlan(const LoadOptions& o, double rate, int repeat, const DatasetInfo& dataset) {
  Plan plan;
  const ArrivalSpec spec = SpecOf(o, dataset.pairs);
  plan.load.open = IsOpen(o);
  plan.load.in_flight = plan.load.open ? o.max_in_flight : o.concurrency;
  if (!o.replay.empty()) {
    RERANKD_ASSIGN_OR_RETURN(auto arrivals, ReadArrivals(o.replay, dataset));
    plan.arrivals = MakeReplay(std::move(arrivals));
    plan.mode = "open, replay";
  } else if (plan.load.open) {
    plan.arrivals = o.arrivals == "constant"
                        ? MakeConstant(spec, rate)
                        : MakePoisson(spec, rate, o.seed + static_cast<uint64_t>(repeat));
    plan.mode = "open, " + o.arrivals;
  } else {
    plan.arrivals = MakeImmediate(spec);
    plan.load.stop_after_s = spec.duration_s;
    plan.mode = "closed";
  }
  return plan;
}

// As many connections as requests in flight; sleeps of the pacing thread end within microseconds.
void PrepareProcess() {
  RaiseOpenFileLimit();
  prctl(PR_SET_TIMERSLACK, 1);
}

LoadRepeat RepeatOf(const LoadResult& r) {
  const double seconds = r.stats.seconds;
  const auto rate = [&](int64_t count) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; };
  return {seconds,
          rate(r.summary.ok()),
          rate(r.summary.ok_pairs()),
          rate(r.summary.good()),
          r.summary.latency().Percentile(50),
          r.summary.latency().Percentile(99),
          r.speed_before,
          r.speed_after};
}

// Where a repeat begins, behind those before it. `start_ms` is a whole second, so that the windows of repeats
// do not mix.
struct Offset {
  double start_ms = 0, load_s = 0;
  int64_t requests = 0;

  void Pass(const LoadResult& r) {
    start_ms += 1000 * static_cast<double>(std::max<size_t>(r.summary.windows().size(),
                                                            static_cast<size_t>(std::ceil(r.stats.seconds))));
    load_s += r.stats.seconds;
    requests += r.stats.sent;
  }
};

Sample Moved(Sample sample, const Offset& offset) {
  sample.work.index += offset.requests;
  sample.intended_ms += offset.start_ms;
  sample.sent_ms += offset.start_ms;
  return sample;
}

bool EndsEarly(const LoadResult& r) { return r.interrupted || !r.stats.lost.empty(); }

void Append(LoadResult later, LoadResult* total) {
  LoadStats& stats = total->stats;
  stats.seconds += later.stats.seconds;
  stats.sent += later.stats.sent;
  stats.held += later.stats.held;
  stats.peak_in_flight = std::max(stats.peak_in_flight, later.stats.peak_in_flight);
  stats.client_cpu_s += later.stats.client_cpu_s;
  stats.client_system_s += later.stats.client_system_s;
  stats.clock_went_back += later.stats.clock_went_back;
  stats.lost = later.stats.lost;
  total->summary.Merge(later.summary);
  if (total->server.cpu_s >= 0 && later.server.cpu_s >= 0) total->server.cpu_s += later.server.cpu_s;
  total->server.resident_after = later.server.resident_after;
  total->speed_after = later.speed_after;
  total->repeats.push_back(later.repeats.front());
  total->interrupted = later.interrupted;
}

// A target that has answered and is warm; loads run on it one after another.
class Session {
 public:
  static Result<std::unique_ptr<Session>> Create(const LoadOptions& options,
                                                 const std::atomic<bool>& interrupt) {
    RERANKD_ASSIGN_OR_RETURN(Dataset dataset, LoadDataset(options.data, options.data_limit));
    std::unique_ptr<Session> session(new Session(options, std::move(dataset), interrupt));
    if (!options.replay.empty())
      RERANKD_RETURN_IF_ERROR(ReadArrivals(options.replay, session->dataset()).status());
    PrepareProcess();
    RERANKD_ASSIGN_OR_RETURN(session->client_, MakeClient(options.target, session->workload_));
    return session;
  }

  Status WarmUp() {
    WarmUpSpec spec;
    spec.pairs = options_.documents;
    spec.in_flight = IsOpen(options_) ? kWarmUpOpen : options_.concurrency;
    spec.longest_s = options_.warm_up_s;
    auto warm = load::WarmUp(spec, dataset_pairs(), *client_, interrupt_);
    if (!warm.ok()) return warm.status().WithContext(options_.target.url);
    warm_up_ = *warm;
    return {};
  }

  int64_t dataset_pairs() const { return dataset_.info.pairs; }
  const DatasetInfo& dataset() const { return dataset_.info; }

  Result<Capacity> MeasureCapacity() {
    if (capacity_) return *capacity_;
    CapacitySpec spec;
    spec.pairs = options_.documents;
    spec.dataset_pairs = dataset_pairs();
    spec.step_s = std::min(spec.step_s, options_.duration_s.value_or(kDefaultSeconds));
    const Capacity capacity = load::MeasureCapacity(spec, *client_, interrupt_);
    if (capacity.requests_per_s <= 0 && !interrupt_.load())
      return Unavailable(fmt::format("{}: no request of a closed loop was answered", options_.target.url));
    capacity_ = capacity;
    return capacity;
  }

  AloneTimes MeasureAlone() {
    return load::MeasureAlone(options_.documents, dataset_pairs(), kAloneSeconds, *client_, interrupt_);
  }

  // Runs `plan`. `stop`, set from within a hook, ends it too.
  LoadResult Run(Plan plan, LoadHooks hooks, const std::atomic<bool>& stop) {
    LoadResult result;
    result.mode = plan.mode;
    result.dataset_name = dataset_.info.name;
    result.dataset_sha256 = dataset_.info.sha256;
    result.dataset_pairs = dataset_pairs();
    result.warm_up = warm_up_;
    result.capacity = capacity_;
    Summary summary(options_.slo_ms);
    const Sink sink = std::move(hooks.sink);
    hooks.sink = [&](const Sample& sample) {
      summary.Add(sample);
      if (sink) sink(sample);
    };
    const pid_t pid = options_.server_pid;
    result.speed_before = MeasureMachineSpeed();
    const ProcessUsage before = pid > 0 ? UsageOf(pid) : ProcessUsage();
    result.stats = RunLoad(plan.load, *plan.arrivals, *client_, stop, hooks);
    const ProcessUsage after = pid > 0 ? UsageOf(pid) : ProcessUsage();
    result.speed_after = MeasureMachineSpeed();
    if (before.cpu_s >= 0 && after.cpu_s >= 0)
      result.server = {after.cpu_s - before.cpu_s, before.resident_bytes, after.resident_bytes};
    result.summary = std::move(summary);
    result.repeats = {RepeatOf(result)};
    result.interrupted = interrupt_.load();
    return result;
  }

 private:
  Session(const LoadOptions& options, Dataset dataset, const std::atomic<bool>& interrupt)
      : options_(options), interrupt_(interrupt), dataset_(std::move(dataset)), workload_(dataset_, true) {}

  const LoadOptions& options_;
  const std::atomic<bool>& interrupt_;
  const Dataset dataset_;
  const Workload workload_;
  std::unique_ptr<Client> client_;
  WarmUpResult warm_up_;
  std::optional<Capacity> capacity_;
};

RateTrial TrialOf(double rate, const LoadResult& result, bool cut) {
  const Summary& s = result.summary;
  RateTrial trial;
  trial.rate = rate;
  trial.cut = cut;
  trial.sent = s.requests();
  trial.ok = s.ok();
  trial.within = s.requests() > 0 ? static_cast<double>(s.good()) / static_cast<double>(s.requests()) : 0;
  trial.met = !cut && result.stats.lost.empty() && MeetsSlo(result);
  trial.p50_ms = s.latency().Percentile(50);
  trial.p99_ms = s.latency().Percentile(99);
  trial.timing_error_p99_ms = s.timing_error().Percentile(99);
  return trial;
}

// One open loop of the search; ends as soon as its verdict is certain.
Result<LoadResult> RunTrial(const LoadOptions& options, double rate, Session& session,
                            const std::atomic<bool>& interrupt, bool* cut) {
  RERANKD_ASSIGN_OR_RETURN(Plan plan, MakePlan(options, rate, 0, session.dataset()));
  const double expected = rate * *options.duration_s;
  std::atomic<bool> stop{false};
  int64_t missed = 0;
  *cut = false;
  LoadHooks hooks;
  hooks.sink = [&](const Sample& sample) {
    const bool good = sample.reply.outcome == Outcome::kOk && sample.latency_ms <= options.slo_ms;
    missed += good ? 0 : 1;
    // Twice what may miss: Poisson arrivals may be more than expected.
    if (static_cast<double>(missed) > 2 * kMissedShare * expected + 2) *cut = stop = true;
  };
  hooks.progress = [&](int64_t, double) {
    if (interrupt.load()) stop = true;
  };
  LoadResult result = session.Run(std::move(plan), std::move(hooks), stop);
  result.rate = rate;
  result.seed = options.seed;
  return result;
}

}  // namespace

Result<LoadResult> MeasureLoad(const LoadOptions& options, const std::atomic<bool>& interrupt,
                               const Progress& progress) {
  RERANKD_RETURN_IF_ERROR(CheckOptions(options));
  RERANKD_ASSIGN_OR_RETURN(const auto session, Session::Create(options, interrupt));
  RERANKD_RETURN_IF_ERROR(session->WarmUp());
  AloneTimes alone;
  if (options.ideal) alone = session->MeasureAlone();
  double rate = options.rate.value_or(0), capacity = 0;
  if (options.ideal || options.rate_share) {
    RERANKD_ASSIGN_OR_RETURN(const Capacity measured, session->MeasureCapacity());
    capacity = measured.requests_per_s;
  }
  if (options.rate_share) rate = *options.rate_share * std::max(capacity, 1e-3);  // 0 only when interrupted

  std::unique_ptr<RequestLog> log;  // only now: a target that is not there costs no older log
  if (!options.log.empty()) {
    RERANKD_ASSIGN_OR_RETURN(log, RequestLog::Create(options.log, session->dataset().sha256));
  }
  std::vector<Due> due;
  Offset offset;
  LoadHooks hooks;
  hooks.progress = [&](int64_t done, double seconds) {
    progress(offset.requests + done, offset.load_s + seconds);
  };
  hooks.sink = [&](const Sample& sample) {
    if (options.ideal) due.push_back({offset.start_ms + sample.intended_ms, sample.work});
    if (log != nullptr) log->Write(Moved(sample, offset));
  };
  std::optional<LoadResult> total;
  for (int i = 0; i < options.repeats && !(total && EndsEarly(*total)); ++i) {
    RERANKD_ASSIGN_OR_RETURN(Plan plan, MakePlan(options, rate, i, session->dataset()));
    LoadResult one = session->Run(std::move(plan), hooks, interrupt);
    offset.Pass(one);
    total ? Append(std::move(one), &*total) : void(total = std::move(one));
  }
  total->rate = rate;
  if (options.ideal) total->ideal = CompareWithIdeal(std::move(due), alone, capacity);
  total->seed = options.seed;
  if (log != nullptr) {
    if (const Status closed = log->Close(); !closed.ok()) total->log_fault = closed.message();
  }
  return *std::move(total);
}

Result<MaxRateResult> FindMaxRate(const LoadOptions& asked, const std::atomic<bool>& interrupt,
                                  const std::function<void(const RateTrial&)>& report) {
  LoadOptions options = asked;
  options.rate = 1;  // an open loop; each trial has its own
  RERANKD_RETURN_IF_ERROR(CheckOptions(options));
  if (!(options.slo_ms > 0)) return InvalidArgument("--find-max-rate needs a limit: --slo-ms");
  if (options.requests || !options.log.empty() || !options.replay.empty() || options.ideal ||
      options.repeats > 1)
    return InvalidArgument(
        "--find-max-rate decides what is sent: it goes with --duration, not with --requests, --repeats, "
        "--log, --replay or --ideal");
  RERANKD_ASSIGN_OR_RETURN(const auto session, Session::Create(options, interrupt));
  RERANKD_RETURN_IF_ERROR(session->WarmUp());
  MaxRateResult result;
  RERANKD_ASSIGN_OR_RETURN(result.capacity, session->MeasureCapacity());
  RateSearch search(kFirstShare * result.capacity.requests_per_s);
  const double seconds = asked.duration_s.value_or(kDefaultSeconds);
  std::map<double, LoadResult> met;  // by rate, the last: one found later may be taken back
  for (auto rate = search.Next(); rate && !interrupt.load(); rate = search.Next()) {
    options.duration_s = std::max(seconds, kFewestOfTrial / *rate);
    bool cut = false;
    RERANKD_ASSIGN_OR_RETURN(LoadResult trial, RunTrial(options, *rate, *session, interrupt, &cut));
    if (trial.interrupted) break;
    ++options.seed;  // other arrivals: a rate must not be met by luck alone
    result.trials.push_back(TrialOf(*rate, trial, cut));
    search.Record(*rate, result.trials.back().met);
    report(result.trials.back());
    if (result.trials.back().met) met.insert_or_assign(*rate, std::move(trial));
  }
  result.rate = search.found();
  result.confirmed = search.confirmed();
  if (const auto best = met.find(result.rate); best != met.end()) result.best = std::move(best->second);
  result.interrupted = interrupt.load();
  return result;
}

}  // namespace rerankd::load
