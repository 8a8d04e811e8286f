#include "kernels/peak.h"

#include <algorithm>
#include <barrier>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace rerankd {
namespace {

constexpr double kSliceSeconds = 0.004;
constexpr int kSlices = 6;

using PeakLoop = double (*)(long rounds);  // returns the operations done, two a multiply-add

PeakLoop LoopOf(const KernelSet& kernels, const std::string& precision) {
  if (precision == "fp32") return kernels.peak;
  if (precision == "bf16") return kernels.bf16_peak;  // null where the set has none
  return precision == "int8" ? kernels.int8_peak : nullptr;
}

struct Slice {
  double operations, seconds;
};

Slice Time(PeakLoop loop, long rounds) {
  const TimePoint start = SteadyClock::Get().Now();
  const double operations = loop(rounds);
  return {operations, ToSeconds(SteadyClock::Get().Now() - start)};
}

double BestOfSlices(PeakLoop loop, long rounds) {
  double best = 0;
  for (int i = 0; i < kSlices; ++i) {
    const Slice slice = Time(loop, rounds);
    best = std::max(best, slice.operations / slice.seconds);
  }
  return best;
}

}  // namespace

double MeasurePeak(const KernelSet& kernels, const std::string& precision, int threads) {
  const PeakLoop loop = LoopOf(kernels, precision);
  if (loop == nullptr) return 0;
  long rounds = 1000;
  for (double seconds = 0; seconds < kSliceSeconds; rounds *= 2) seconds = Time(loop, rounds * 2).seconds;
  std::vector<double> best(static_cast<size_t>(threads));
  std::barrier together(threads);
  std::vector<std::thread> team;
  for (double& mine : best)
    team.emplace_back([&] {
      together.arrive_and_wait();
      mine = BestOfSlices(loop, rounds);
    });
  for (std::thread& thread : team) thread.join();
  double sum = 0;
  for (const double one : best) sum += one;
  return sum / 2;
}

}  // namespace rerankd
