#include "load/machine_speed.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/clock.h"

namespace rerankd::load {
namespace {

constexpr int kRuns = 15;
constexpr int kSteps = 1 << 20;  // about 1.3 ms: several clock cycles each

// A chain: every step waits for the one before, so that its time is a fixed number of clock cycles.
uint64_t Chain(uint64_t x) {
  for (int i = 0; i < kSteps; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

}  // namespace

MachineSpeed MeasureMachineSpeed() {
  std::array<double, kRuns> ns{};
  volatile uint64_t seed = 1;
  for (double& run : ns) {
    const TimePoint start = SteadyClock::Get().Now();
    seed = Chain(seed);
    run = ToSeconds(SteadyClock::Get().Now() - start) * 1e9 / kSteps;
  }
  std::sort(ns.begin(), ns.end());
  return {ns.front(), ns.front() > 0 ? ns[kRuns / 2] / ns.front() - 1 : 0};
}

double SpeedChange(const MachineSpeed& before, const MachineSpeed& after) {
  return before.step_ns > 0 && after.step_ns > 0 ? before.step_ns / after.step_ns - 1 : 0;
}

}  // namespace rerankd::load
