#include "load/spread.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

namespace rerankd::load {
namespace {

constexpr double kFarDeviations = 3, kFarShare = 0.05;
constexpr double kScaled = 1.4826;  // median deviation -> standard deviation of a normal distribution
constexpr double kDriftShare = 0.05, kDriftErrors = 4;

struct Moments {
  double mean = 0;
  double error = 0;  // of the mean
};

Moments MomentsOf(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  Moments moments;
  moments.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - moments.mean) * (value - moments.mean);
  moments.error = std::sqrt(squares / (count - 1) / count);
  return moments;
}

}  // namespace

double Student975(size_t degrees) {
  static constexpr double kTable[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                      2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                                      2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  return degrees <= std::size(kTable) ? kTable[std::max<size_t>(degrees, 1) - 1]
                                      : 1.96 + 2.5 / static_cast<double>(degrees);
}

std::optional<MeanInterval> IntervalOfMean(std::span<const double> values) {
  if (values.size() < kFewestRepeats) return std::nullopt;
  const Moments moments = MomentsOf(values);
  const double reach = Student975(values.size() - 1) * moments.error;
  return MeanInterval{moments.mean, std::max(moments.mean - reach, 0.0), moments.mean + reach};
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

std::vector<size_t> OutliersOf(std::span<const double> values) {
  std::vector<size_t> outliers;
  if (values.size() < kFewestRepeats) return outliers;
  const double median = Median({values.begin(), values.end()});
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - median));
  const double far = std::max(kFarDeviations * kScaled * Median(distances), kFarShare * std::abs(median));
  for (size_t i = 0; i < values.size(); ++i)
    if (distances[i] > far) outliers.push_back(i);
  return outliers;
}

std::optional<double> DriftOf(std::span<const double> values) {
  if (values.size() < 2 * kFewestRepeats) return std::nullopt;
  const Moments first = MomentsOf(values.first(values.size() / 2));
  const Moments second = MomentsOf(values.subspan(values.size() / 2));
  const double change = first.mean > 0 ? second.mean / first.mean - 1 : 0;
  const bool certain =
      std::abs(second.mean - first.mean) > kDriftErrors * std::hypot(first.error, second.error);
  return std::abs(change) > kDriftShare && certain ? std::optional(change) : std::nullopt;
}

}  // namespace rerankd::load
