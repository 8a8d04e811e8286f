#include "load/ideal.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <queue>

#include "load/arrivals.h"
#include "load/generator.h"

namespace rerankd::load {
namespace {

constexpr int64_t kRounds = 3;  // of each work alone

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<double> IdealLatencies(std::span<const IdealRequest> requests, int servers) {
  std::priority_queue<double, std::vector<double>, std::greater<>> free;  // when each server is
  for (int i = 0; i < servers; ++i) free.push(0);
  std::vector<double> latencies;
  for (const IdealRequest& r : requests) {
    const double start = std::max(r.at_ms, free.top());
    free.pop();
    free.push(start + r.occupancy_ms);
    latencies.push_back(start - r.at_ms + r.alone_ms);
  }
  return latencies;
}

void AloneTimes::Add(const Work& work, double ms) { samples_[{work.first, work.pairs}].push_back(ms); }

double AloneTimes::Of(const Work& work) const {
  const auto found = samples_.find({work.first, work.pairs});
  return found == samples_.end() ? mean_ms() : Median(found->second);
}

double AloneTimes::mean_ms() const {
  const double sum =
      std::accumulate(samples_.begin(), samples_.end(), 0.0,
                      [](double total, const auto& entry) { return total + Median(entry.second); });
  return samples_.empty() ? 0 : sum / static_cast<double>(samples_.size());
}

AloneTimes MeasureAlone(int pairs, int64_t dataset_pairs, double longest_s, Client& client,
                        const std::atomic<bool>& interrupt) {
  // The works repeat after as many requests as it takes to come back to pair 0.
  const int64_t distinct = dataset_pairs / std::gcd(static_cast<int64_t>(pairs), dataset_pairs);
  const auto arrivals = MakeImmediate({pairs, dataset_pairs, distinct * kRounds, {}});
  LoadPlan plan;
  plan.stop_after_s = longest_s;
  AloneTimes alone;
  LoadHooks hooks;
  hooks.sink = [&](const Sample& sample) {
    if (sample.reply.outcome == Outcome::kOk) alone.Add(sample.work, sample.latency_ms);
  };
  RunLoad(plan, *arrivals, client, interrupt, hooks);
  return alone;
}

IdealComparison CompareWithIdeal(std::vector<Due> requests, const AloneTimes& alone, double capacity_per_s) {
  IdealComparison result;
  result.capacity_per_s = capacity_per_s;
  result.alone_mean_ms = alone.mean_ms();
  if (requests.empty() || capacity_per_s <= 0 || result.alone_mean_ms <= 0) return result;
  result.servers = std::max(1, static_cast<int>(std::lround(capacity_per_s * result.alone_mean_ms / 1000)));
  const double occupancy_mean_ms = 1000 * result.servers / capacity_per_s;
  std::stable_sort(requests.begin(), requests.end(),
                   [](const Due& a, const Due& b) { return a.at_ms < b.at_ms; });
  std::vector<IdealRequest> ideal;
  for (const Due& due : requests) {
    const double ms = alone.Of(due.work);
    ideal.push_back({due.at_ms, ms / result.alone_mean_ms * occupancy_mean_ms, ms});
  }
  for (const double ms : IdealLatencies(ideal, result.servers)) result.latency.Record(ms);
  return result;
}

}  // namespace rerankd::load
