// The statistics of the reports (definitions: docs/experiments.md). Pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace rerankd::experiment {

// Linear interpolation between order statistics at position p/100 * (n-1). `sorted` ascending; 0 if empty.
double Percentile(std::span<const double> sorted, double p);

// Pearson's r; 0 where it is undefined (fewer than two points, or a constant series).
double Correlation(std::span<const double> x, std::span<const double> y);

struct Summary {
  double average = 0, min = 0, max = 0;
  double std_dev = 0;  // of the population: divided by n
  double p50 = 0, p90 = 0, p95 = 0, p99 = 0;
};
Summary Summarize(std::vector<double> values);  // zeros if empty

// Requests of one latency range and their throughput (pairs/s).
struct Bucket {
  std::string range;  // "< 135.7ms (P50)"
  double average = 0, min = 0, max = 0;
  int count = 0;
};
// Cuts at the latency percentiles 50, 75, 90; ranges without a request are left out.
std::vector<Bucket> LatencyBuckets(std::span<const double> latency_ms, std::span<const double> throughput);

}  // namespace rerankd::experiment
