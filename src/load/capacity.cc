#include "load/capacity.h"

#include <algorithm>

#include "load/arrivals.h"
#include "load/generator.h"

namespace rerankd::load {
namespace {

constexpr double kGrowth = 1.05;
constexpr int64_t kFewest = 5;  // requests for each in flight: one alone would be measured at its ends

struct Step {
  double requests_per_s = 0;
  bool failed = false;
};

Step RunStep(const CapacitySpec& spec, int in_flight, Client& client, const std::atomic<bool>& interrupt) {
  const auto arrivals = MakeImmediate({spec.pairs, spec.dataset_pairs, {}, {}});
  LoadPlan plan;
  plan.in_flight = in_flight;
  std::atomic<bool> enough{false};
  int64_t ok = 0, done = 0;
  LoadHooks hooks;
  hooks.sink = [&](const Sample& sample) {
    ++done;
    ok += sample.reply.outcome == Outcome::kOk ? 1 : 0;
  };
  hooks.progress = [&](int64_t, double seconds) {
    const bool long_enough = seconds >= spec.step_s && done >= kFewest * in_flight;
    if (interrupt.load() || long_enough || ok < done) enough = true;
  };
  const LoadStats stats = RunLoad(plan, *arrivals, client, enough, hooks);
  return {stats.seconds > 0 ? static_cast<double>(ok) / stats.seconds : 0, ok < done};
}

}  // namespace

Capacity MeasureCapacity(const CapacitySpec& spec, Client& client, const std::atomic<bool>& interrupt) {
  Capacity best;
  for (int in_flight = 1; in_flight <= spec.most_in_flight && !interrupt.load(); in_flight *= 2) {
    const Step step = RunStep(spec, in_flight, client, interrupt);
    const bool grew = step.requests_per_s > kGrowth * best.requests_per_s;
    if (step.failed && best.in_flight > 0) break;  // refusals are fast: their loop tells nothing
    if (step.requests_per_s > best.requests_per_s) best = {step.requests_per_s, in_flight};
    if (!grew || step.failed) break;
  }
  return best;
}

}  // namespace rerankd::load
