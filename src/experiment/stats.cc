#include "experiment/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace rerankd::experiment {
namespace {

double Mean(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Bucket MakeBucket(std::string range, std::span<const double> throughput) {
  Bucket bucket{std::move(range), Mean(throughput), 0, 0, static_cast<int>(throughput.size())};
  if (throughput.empty()) return bucket;
  const auto [low, high] = std::minmax_element(throughput.begin(), throughput.end());
  bucket.min = *low;
  bucket.max = *high;
  return bucket;
}

}  // namespace

double Percentile(std::span<const double> sorted, double p) {
  if (sorted.empty()) return 0;
  const double position = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - static_cast<double>(below));
}

double Correlation(std::span<const double> x, std::span<const double> y) {
  const double mean_x = Mean(x), mean_y = Mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

Summary Summarize(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  Summary s;
  s.average = Mean(values);
  s.min = values.front();
  s.max = values.back();
  double squares = 0;
  for (const double value : values) squares += (value - s.average) * (value - s.average);
  s.std_dev = std::sqrt(squares / static_cast<double>(values.size()));
  s.p50 = Percentile(values, 50);
  s.p90 = Percentile(values, 90);
  s.p95 = Percentile(values, 95);
  s.p99 = Percentile(values, 99);
  return s;
}

std::vector<Bucket> LatencyBuckets(std::span<const double> latency_ms, std::span<const double> throughput) {
  std::vector<double> sorted(latency_ms.begin(), latency_ms.end());
  std::sort(sorted.begin(), sorted.end());
  const double e50 = Percentile(sorted, 50), e75 = Percentile(sorted, 75), e90 = Percentile(sorted, 90);
  const std::string names[] = {
      fmt::format("< {:.1f}ms (P50)", e50), fmt::format("{:.1f}-{:.1f}ms (P50-P75)", e50, e75),
      fmt::format("{:.1f}-{:.1f}ms (P75-P90)", e75, e90), fmt::format(">= {:.1f}ms (P90+)", e90)};
  std::vector<double> members[4];
  for (size_t i = 0; i < latency_ms.size(); ++i) {
    const double ms = latency_ms[i];
    members[ms < e50 ? 0 : ms < e75 ? 1 : ms < e90 ? 2 : 3].push_back(throughput[i]);
  }
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < 4; ++i)
    if (!members[i].empty()) buckets.push_back(MakeBucket(names[i], members[i]));
  return buckets;
}

}  // namespace rerankd::experiment
