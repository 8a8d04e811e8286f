// The statistics of measurements: medians, and how far a median may be trusted. Pure functions.
#pragma once

#include <string>
#include <vector>

namespace rerankd::perf {

double Median(std::vector<double> values);  // of the middle two where their number is even; 0 if empty

// The median with a 95 % percentile bootstrap interval (10,000 resamples, fixed seed: same values, same
// interval).
struct Interval {
  double median = 0, low = 0, high = 0;
};
Interval BootstrapMedian(const std::vector<double>& values);

// Rows of cells as text, columns aligned: the first `left` columns to the left, the others to the right.
// The first row is the header.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows, size_t left);

}  // namespace rerankd::perf
