#include "load/warm_up.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "load/generator.h"

namespace rerankd::load {
namespace {

constexpr size_t kSteadyRates = 3;
constexpr double kTolerance = 0.05;

// One request; a target that cannot answer it is not worth a load.
Status FirstRequest(const ArrivalSpec& spec, Client& client, const std::atomic<bool>& interrupt) {
  ArrivalSpec one = spec;
  one.requests = 1;
  const auto arrivals = MakeImmediate(one);
  Status status;
  LoadHooks hooks;
  hooks.sink = [&](const Sample& sample) {
    if (sample.reply.outcome != Outcome::kOk)
      status = Unavailable(fmt::format("the first request failed ({}): {}", OutcomeName(sample.reply.outcome),
                                       sample.reply.detail));
  };
  RunLoad({}, *arrivals, client, interrupt, hooks);
  return status;
}

}  // namespace

bool IsSteady(std::span<const double> rates) {
  if (rates.size() < kSteadyRates) return false;
  const auto last = rates.last(kSteadyRates);
  const double mean = std::accumulate(last.begin(), last.end(), 0.0) / kSteadyRates;
  return mean > 0 && std::all_of(last.begin(), last.end(),
                                 [&](double rate) { return std::abs(rate - mean) <= kTolerance * mean; });
}

Result<WarmUpResult> WarmUp(const WarmUpSpec& spec, int64_t dataset_pairs, Client& client,
                            const std::atomic<bool>& interrupt) {
  ArrivalSpec arrivals;
  arrivals.pairs = spec.pairs;
  arrivals.dataset_pairs = dataset_pairs;
  RERANKD_RETURN_IF_ERROR(FirstRequest(arrivals, client, interrupt));
  WarmUpResult result;
  result.requests = 1;
  const auto endless = MakeImmediate(arrivals);
  LoadPlan plan;
  plan.in_flight = spec.in_flight;
  plan.stop_after_s = spec.window_s;
  LoadHooks hooks;
  hooks.sink = [](const Sample&) {};
  std::vector<double> rates;
  while (result.seconds < spec.longest_s && !result.steady && !interrupt.load()) {
    const LoadStats stats = RunLoad(plan, *endless, client, interrupt, hooks);
    if (!stats.lost.empty()) return Unavailable("warm-up: " + stats.lost);
    result.requests += stats.sent;
    result.seconds += stats.seconds;
    rates.push_back(stats.seconds > 0 ? static_cast<double>(stats.sent) / stats.seconds : 0);
    result.steady = IsSteady(rates);
  }
  return result;
}

}  // namespace rerankd::load
