// The statistics that the reference system's numbers are defined by.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rerankd::serving {

// Linear interpolation between order statistics, at position p/100 * (n - 1). 0 when empty. `sorted` ascends.
double Percentile(std::span<const double> sorted, double p);

// Rounds the exact binary value to `decimals` digits, halves to even (2.675 -> 2.67), as Python's round().
double RoundTo(double value, int decimals);

struct Distribution {
  int64_t count = 0;
  double avg = 0, p50 = 0, p95 = 0, p99 = 0;
};

Distribution Describe(std::vector<double> values);

}  // namespace rerankd::serving
