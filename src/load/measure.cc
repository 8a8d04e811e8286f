#include "load/measure.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "load/arrivals.h"
#include "load/process_usage.h"
#include "load/request_log.h"

namespace rerankd::load {
namespace {

constexpr double kDefaultSeconds = 10;
constexpr int kWarmUpOpen = 2;  // requests in flight: busy, no queue of note

Status CheckOptions(const LoadOptions& o) {
  if (o.documents < 1)
    return InvalidArgument(fmt::format("--docs-per-request {} is not at least 1", o.documents));
  if (o.concurrency < 1)
    return InvalidArgument(fmt::format("--concurrency {} is not at least 1", o.concurrency));
  if (o.rate && !(*o.rate > 0)) return InvalidArgument(fmt::format("--rate {} is not above 0", *o.rate));
  if (o.requests && *o.requests < 1)
    return InvalidArgument(fmt::format("--requests {} is not at least 1", *o.requests));
  if (o.duration_s && !(*o.duration_s > 0))
    return InvalidArgument(fmt::format("--duration {} is not above 0", *o.duration_s));
  if (o.max_in_flight < 1)
    return InvalidArgument(fmt::format("--max-in-flight {} is not at least 1", o.max_in_flight));
  if (o.arrivals != "poisson" && o.arrivals != "constant")
    return InvalidArgument(fmt::format("--arrivals '{}' is not poisson or constant", o.arrivals));
  return {};
}

struct Plan {
  LoadPlan load;
  std::unique_ptr<Arrivals> arrivals;
  std::string mode;
};

Result<Plan> MakePlan(const LoadOptions& o, int64_t dataset_pairs) {
  Plan plan;
  ArrivalSpec spec{o.documents, dataset_pairs, o.requests, o.duration_s};
  if (!o.requests && !o.duration_s) spec.duration_s = kDefaultSeconds;
  plan.load.open = o.rate || !o.replay.empty();
  plan.load.in_flight = plan.load.open ? o.max_in_flight : o.concurrency;
  if (!o.replay.empty()) {
    RERANKD_ASSIGN_OR_RETURN(auto arrivals, ReadArrivals(o.replay, dataset_pairs));
    plan.arrivals = MakeReplay(std::move(arrivals));
    plan.mode = "open, replay";
  } else if (o.rate) {
    plan.arrivals =
        o.arrivals == "constant" ? MakeConstant(spec, *o.rate) : MakePoisson(spec, *o.rate, o.seed);
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
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  prctl(PR_SET_TIMERSLACK, 1);
}

WarmUpSpec WarmUpOf(const LoadOptions& o, const LoadPlan& plan) {
  WarmUpSpec spec;
  spec.pairs = o.documents;
  spec.in_flight = plan.open ? kWarmUpOpen : o.concurrency;
  spec.longest_s = o.warm_up_s;
  return spec;
}

}  // namespace

Result<LoadResult> MeasureLoad(const LoadOptions& options, const std::atomic<bool>& interrupt,
                               const Progress& progress) {
  RERANKD_RETURN_IF_ERROR(CheckOptions(options));
  RERANKD_ASSIGN_OR_RETURN(const Dataset dataset, LoadDataset(options.data, options.data_limit));
  RERANKD_ASSIGN_OR_RETURN(Plan plan, MakePlan(options, dataset.info.pairs));
  std::unique_ptr<RequestLog> log;
  if (!options.log.empty()) {
    RERANKD_ASSIGN_OR_RETURN(log, RequestLog::Create(options.log));
  }
  PrepareProcess();
  const Workload workload(dataset, true);
  RERANKD_ASSIGN_OR_RETURN(const auto client, MakeClient(options.target, workload));

  LoadResult result;
  result.mode = plan.mode;
  result.dataset_name = dataset.info.name;
  result.dataset_sha256 = dataset.info.sha256;
  result.dataset_pairs = dataset.info.pairs;
  auto warm = WarmUp(WarmUpOf(options, plan.load), dataset.info.pairs, *client, interrupt);
  if (!warm.ok()) return warm.status().WithContext(options.target.url);
  result.warm_up = *warm;

  Summary summary(options.slo_ms);
  LoadHooks hooks;
  hooks.progress = progress;
  hooks.sink = [&](const Sample& sample) {
    summary.Add(sample);
    if (log != nullptr) log->Write(sample);
  };
  const ProcessUsage before = options.server_pid > 0 ? UsageOf(options.server_pid) : ProcessUsage();
  result.stats = RunLoad(plan.load, *plan.arrivals, *client, interrupt, hooks);
  const ProcessUsage after = options.server_pid > 0 ? UsageOf(options.server_pid) : ProcessUsage();
  if (before.cpu_s >= 0 && after.cpu_s >= 0)
    result.server = {after.cpu_s - before.cpu_s, before.resident_bytes, after.resident_bytes};
  result.summary = std::move(summary);
  result.interrupted = interrupt.load();
  if (log != nullptr) RERANKD_RETURN_IF_ERROR(log->Close());
  return result;
}

}  // namespace rerankd::load
