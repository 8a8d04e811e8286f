#include "experiment/cell_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rerankd::experiment {
namespace {

constexpr size_t kSlices = 10;
constexpr size_t kFewestRequests = 20;

// Of warnings: a request is slow at ten medians.
constexpr double kSlowMedians = 10;
constexpr double kDisturbed = 0.15;
constexpr double kLateMs = 1;

void WarnOfRepeats(const CellRecord& cell, std::vector<std::string>* warnings) {
  const std::vector<double> rates = RepeatsOf(cell).rates;
  for (const size_t i : load::OutliersOf(rates))
    warnings->push_back(fmt::format("repeat {} is an outlier: {:.1f} pairs/s, the median is {:.1f}", i + 1,
                                    rates[i], load::Median(rates)));
}

void WarnOfSlowRequests(const CellStats& stats, std::vector<std::string>* warnings) {
  const double limit = kSlowMedians * stats.latency.p50;
  const auto slow =
      std::count_if(stats.latency_ms.begin(), stats.latency_ms.end(), [&](double ms) { return ms > limit; });
  if (slow > 0)
    warnings->push_back(
        fmt::format("{} of {} requests took more than {:g} times the median, the slowest {:.1f} ms", slow,
                    stats.latency_ms.size(), kSlowMedians, stats.latency.max));
}

void WarnOfDrift(const CellRecord& cell, std::vector<std::string>* warnings) {
  if (const auto change = load::DriftOf(SliceRates(cell)))
    warnings->push_back(fmt::format("the rate {} by {:.1f} % from the first half to the second",
                                    *change > 0 ? "rose" : "fell", std::abs(100 * *change)));
}

void WarnOfMachine(const CellRecord& cell, std::vector<std::string>* warnings) {
  for (size_t i = 0; i < cell.repeats.size(); ++i) {
    const RepeatRecord& r = cell.repeats[i];
    const std::string which = cell.repeats.size() > 1 ? fmt::format("repeat {}: ", i + 1) : "";
    if (const double change = load::SpeedChange(r.before, r.after); std::abs(change) > load::kSpeedTolerance)
      warnings->push_back(fmt::format("{}the machine was {:.0f} % {} after the load than before it", which,
                                      std::abs(100 * change), change > 0 ? "faster" : "slower"));
    if (r.before.disturbance > kDisturbed)
      warnings->push_back(fmt::format("{}other work took {:.0f} % of this core before the load began", which,
                                      100 * r.before.disturbance / (1 + r.before.disturbance)));
  }
}

void WarnOfOpenLoop(const CellRecord& cell, std::vector<std::string>* warnings) {
  if (!cell.open()) return;
  std::vector<double> late;
  int64_t failed = 0;
  const RequestSample* first = nullptr;
  for (const RequestSample& r : cell.requests) {
    late.push_back(r.late_ms);
    if (r.error.empty()) continue;
    if (failed++ == 0) first = &r;
  }
  if (first != nullptr)
    warnings->push_back(
        fmt::format("{} of {} requests failed; the first: {}", failed, cell.requests.size(), first->error));
  std::sort(late.begin(), late.end());
  if (Percentile(late, 99) > kLateMs)
    warnings->push_back(
        fmt::format("1 % of the requests were sent {:.1f} ms late or more: this machine is too busy",
                    Percentile(late, 99)));
}

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

RepeatStats RepeatsOf(const CellRecord& cell) {
  RepeatStats stats;
  for (size_t i = 0; i < cell.repeats.size(); ++i) {
    std::vector<double> latency;
    double pairs = 0;
    for (const RequestSample& r : cell.requests) {
      if (r.repeat != static_cast<int>(i) || !r.error.empty()) continue;
      latency.push_back(r.latency_ms);
      pairs += r.pairs;
    }
    const Summary s = Summarize(std::move(latency));
    stats.rates.push_back(cell.repeats[i].seconds > 0 ? pairs / cell.repeats[i].seconds : 0);
    stats.p50.push_back(s.p50);
    stats.p99.push_back(s.p99);
  }
  return stats;
}

std::vector<double> RateSamples(const CellRecord& cell) {
  if (cell.repeats.size() >= load::kFewestRepeats) return RepeatsOf(cell).rates;
  return SliceRates(cell);
}

std::optional<load::MeanInterval> IntervalOfRate(const CellRecord& cell) {
  return load::IntervalOfMean(RateSamples(cell));
}

std::vector<std::string> CellWarnings(const CellRecord& cell) {
  std::vector<std::string> warnings;
  if (cell.requests.empty()) return warnings;
  WarnOfRepeats(cell, &warnings);
  WarnOfSlowRequests(StatsOf(cell), &warnings);
  WarnOfDrift(cell, &warnings);
  WarnOfMachine(cell, &warnings);
  WarnOfOpenLoop(cell, &warnings);
  return warnings;
}

std::string ConfigName(const CellRecord& cell) {
  if (cell.open()) return fmt::format("batch={}, rate={}", cell.batch, cell.rate_name);
  return fmt::format("batch={}, conc={}", cell.batch, cell.concurrency);
}

}  // namespace rerankd::experiment
