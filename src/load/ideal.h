// What the best possible server would have made of the same arrivals: first come, first served, never idle
// while anything waits, no work added by the load. What a real one is slower is its scheduling.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "load/client.h"
#include "load/summary.h"

namespace rerankd::load {

struct IdealRequest {
  double at_ms = 0;         // when it was due; never falling
  double occupancy_ms = 0;  // of one server
  double alone_ms = 0;      // latency when nothing else is there
};

// Latency of each request, ms: its wait for one of `servers`, and what it takes alone.
std::vector<double> IdealLatencies(std::span<const IdealRequest> requests, int servers);

// Latencies of requests that were alone, by (first pair, pairs).
class AloneTimes {
 public:
  void Add(const Work& work, double ms);
  size_t works() const { return samples_.size(); }
  double mean_ms() const;             // of the medians
  double Of(const Work& work) const;  // median of its samples; the mean for one that was not measured

 private:
  std::map<std::pair<int64_t, int>, std::vector<double>> samples_;
};

// Closed loop with one request in flight: all works of the data set three times, at most `longest_s`.
AloneTimes MeasureAlone(int pairs, int64_t dataset_pairs, double longest_s, Client& client,
                        const std::atomic<bool>& interrupt);

struct IdealComparison {
  int servers = 1;            // capacity x mean time alone, rounded: how many requests it works on at once
  double capacity_per_s = 0;  // measured, in requests
  double alone_mean_ms = 0;
  Times latency;  // of the ideal server
};

struct Due {
  double at_ms = 0;
  Work work;
};

// The ideal server has exactly the capacity that the target showed, so that both are equally loaded: a
// request occupies one of its servers for its share of servers / capacity.
IdealComparison CompareWithIdeal(std::vector<Due> requests, const AloneTimes& alone, double capacity_per_s);

}  // namespace rerankd::load
