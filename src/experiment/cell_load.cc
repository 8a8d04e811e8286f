#include "experiment/cell_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "load/arrivals.h"

namespace rerankd::experiment {
namespace {

constexpr int kMostInFlight = 4096;  // of an open loop

RequestSample SampleOf(const load::Sample& s) {
  RequestSample sample;
  sample.index = s.work.index;
  sample.start_ms = s.sent_ms;
  sample.late_ms = s.sent_ms - s.intended_ms;
  sample.latency_ms = s.latency_ms;
  sample.pairs = s.work.pairs;
  sample.queue_ms = s.reply.queue_ms;
  sample.tokenize_ms = s.reply.tokenize_ms;
  sample.inference_ms = s.reply.inference_ms;
  if (s.reply.outcome != load::Outcome::kOk)
    sample.error = fmt::format("{}: {}", load::OutcomeName(s.reply.outcome), s.reply.detail);
  return sample;
}

std::string ErrorText(const RequestSample& sample) {
  return fmt::format("request {}: {}", sample.index, sample.error);
}

// The shorter of the wanted time and the budget; nothing without either.
std::optional<double> TimeLimit(const LoadSpec& spec) {
  if (spec.duration_s && spec.budget_s) return std::min(*spec.duration_s, *spec.budget_s);
  return spec.duration_s ? spec.duration_s : spec.budget_s;
}

load::ArrivalSpec ArrivalsOf(const LoadSpec& spec, const load::Workload& workload) {
  load::ArrivalSpec arrivals;
  arrivals.pairs = spec.batch;
  arrivals.dataset_pairs = static_cast<int64_t>(workload.dataset().pairs.size());
  if (!spec.duration_s) arrivals.requests = spec.requests;
  if (spec.rate) arrivals.duration_s = spec.duration_s;
  return arrivals;
}

std::unique_ptr<load::Arrivals> MakeArrivals(const LoadSpec& spec, const load::Workload& workload) {
  const load::ArrivalSpec arrivals = ArrivalsOf(spec, workload);
  if (!spec.rate) return load::MakeImmediate(arrivals);
  return spec.constant ? load::MakeConstant(arrivals, *spec.rate)
                       : load::MakePoisson(arrivals, *spec.rate, spec.seed);
}

load::LoadPlan PlanOf(const LoadSpec& spec) {
  load::LoadPlan plan;
  plan.open = spec.rate.has_value();
  plan.in_flight = plan.open ? kMostInFlight : spec.concurrency;
  plan.stop_after_s = plan.open ? spec.budget_s : TimeLimit(spec);
  plan.stop_on_failure = !plan.open;
  return plan;
}

// Why the load failed; "" if it did not.
std::string ErrorOf(const LoadSpec& spec, const std::vector<RequestSample>& samples) {
  const auto failed = [](const RequestSample& s) { return !s.error.empty(); };
  const auto first = std::find_if(samples.begin(), samples.end(), failed);
  if (first == samples.end()) return "";
  if (spec.rate && !std::all_of(samples.begin(), samples.end(), failed)) return "";
  return ErrorText(*first);
}

}  // namespace

Result<std::unique_ptr<CellLoad>> CellLoad::Create(const load::Target& target, const load::Dataset& dataset,
                                                   bool one_query) {
  std::unique_ptr<CellLoad> cell_load(new CellLoad(dataset, one_query));
  RERANKD_ASSIGN_OR_RETURN(cell_load->client_, load::MakeClient(target, cell_load->workload_));
  return cell_load;
}

Status CellLoad::WarmUp(int batch, int64_t count, const std::atomic<bool>& interrupt) const {
  const auto arrivals =
      load::MakeReplay(std::vector<load::Arrival>(static_cast<size_t>(count), {{}, {0, 0, batch}}));
  load::LoadPlan plan;
  plan.stop_on_failure = true;
  Status status;
  load::LoadHooks hooks;
  hooks.sink = [&](const load::Sample& sample) {
    if (sample.reply.outcome != load::Outcome::kOk)
      status = Unavailable("warm-up: " + ErrorText(SampleOf(sample)));
  };
  load::RunLoad(plan, *arrivals, *client_, interrupt, hooks);
  return status;
}

load::Capacity CellLoad::MeasureCapacity(int batch, double step_s, const std::atomic<bool>& interrupt) const {
  load::CapacitySpec spec;
  spec.pairs = batch;
  spec.dataset_pairs = static_cast<int64_t>(workload_.dataset().pairs.size());
  spec.step_s = step_s;
  return load::MeasureCapacity(spec, *client_, interrupt);
}

int64_t CellLoad::RunBackground(int batch, int concurrency, const std::atomic<bool>& stop) const {
  const auto arrivals =
      load::MakeImmediate({batch, static_cast<int64_t>(workload_.dataset().pairs.size()), {}, {}});
  load::LoadPlan plan;
  plan.in_flight = concurrency;
  int64_t answered = 0;
  load::LoadHooks hooks;
  hooks.sink = [&](const load::Sample& sample) {
    answered += sample.reply.outcome == load::Outcome::kOk ? 1 : 0;
  };
  load::RunLoad(plan, *arrivals, *client_, stop, hooks);
  return answered;
}

LoadResult CellLoad::Run(const LoadSpec& spec, const std::atomic<bool>& interrupt,
                         const load::Progress& progress) const {
  const auto arrivals = MakeArrivals(spec, workload_);
  const load::LoadPlan plan = PlanOf(spec);
  LoadResult result;
  load::LoadHooks hooks;
  hooks.progress = progress;
  hooks.sink = [&](const load::Sample& sample) { result.samples.push_back(SampleOf(sample)); };
  const load::LoadStats stats = load::RunLoad(plan, *arrivals, *client_, interrupt, hooks);

  std::sort(result.samples.begin(), result.samples.end(),
            [](const RequestSample& a, const RequestSample& b) { return a.index < b.index; });
  const double first = result.samples.empty() ? 0 : result.samples.front().start_ms;
  for (RequestSample& s : result.samples) s.start_ms -= first;
  result.error = ErrorOf(spec, result.samples);
  result.seconds = stats.seconds;
  result.held = stats.held;
  result.peak_in_flight = stats.peak_in_flight;
  result.clock_went_back = stats.clock_went_back;
  result.client_cpu_s = stats.client_cpu_s;
  const bool budget_was_shorter = spec.budget_s && (!spec.duration_s || *spec.budget_s < *spec.duration_s);
  result.stopped_by_budget = stats.cut && budget_was_shorter && result.error.empty() && !interrupt.load();
  return result;
}

}  // namespace rerankd::experiment
