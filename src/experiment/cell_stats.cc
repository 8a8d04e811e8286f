#include "experiment/cell_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rerankd::experiment {
namespace {

constexpr size_t kSlices = 10;
constexpr double kStudent9 = 2.262;  // 97.5 % quantile, 9 degrees of freedom
constexpr size_t kFewestRequests = 20;

}  // namespace

CellStats StatsOf(const CellRecord& cell) {
  CellStats stats;
  for (const RequestSample& request : cell.requests) {
    if (!request.error.empty()) continue;
    stats.pairs += request.pairs;
    stats.latency_ms.push_back(request.latency_ms);
    stats.throughput.push_back(request.latency_ms > 0 ? request.pairs / request.latency_ms * 1000 : 0);
  }
  stats.rate = cell.seconds > 0 ? static_cast<double>(stats.pairs) / cell.seconds : 0;
  stats.latency = Summarize(stats.latency_ms);
  stats.per_request = Summarize(stats.throughput);
  return stats;
}

// A request's pairs belong to the slices that it was in flight in, by the share of its time in each: counting
// it where it ended would make a lattice of a few long requests.
std::vector<double> SliceRates(const CellRecord& cell) {
  const double slice_ms = cell.seconds * 1000 / kSlices;
  if (cell.requests.size() < kFewestRequests || slice_ms <= 0) return {};
  std::vector<double> rates(kSlices);
  for (const RequestSample& r : cell.requests) {
    if (!r.error.empty() || r.latency_ms <= 0) continue;
    const double end = r.start_ms + r.latency_ms;
    for (size_t i = 0; i < kSlices; ++i) {
      const double from = slice_ms * static_cast<double>(i);
      const double inside = std::min(end, from + slice_ms) - std::max(r.start_ms, from);
      if (inside > 0) rates[i] += r.pairs * inside / r.latency_ms / slice_ms * 1000;
    }
  }
  return rates;
}

std::optional<RateInterval> IntervalOfRate(const CellRecord& cell) {
  const std::vector<double> rates = SliceRates(cell);
  if (rates.empty()) return std::nullopt;
  const Summary s = Summarize(rates);
  const double error = kStudent9 * s.std_dev / std::sqrt(static_cast<double>(kSlices - 1));
  return RateInterval{s.average - error, s.average + error};
}

std::string ConfigName(const CellRecord& cell) {
  return fmt::format("batch={}, conc={}", cell.batch, cell.concurrency);
}

}  // namespace rerankd::experiment
