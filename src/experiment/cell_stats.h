// The numbers of one cell (definitions: docs/experiments.md). Requests that failed count for nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiment/record.h"
#include "experiment/stats.h"

namespace rerankd::experiment {

struct CellStats {
  int64_t pairs = 0;
  double rate = 0;  // pairs / wall seconds
  std::vector<double> latency_ms, throughput;
  Summary latency, per_request;
};
CellStats StatsOf(const CellRecord& cell);

// Pairs a second in each of ten equal slices of the cell's time: the repeats that a single run has. Empty
// when fewer than 20 requests were answered.
std::vector<double> SliceRates(const CellRecord& cell);

struct RateInterval {
  double low = 0, high = 0;
};
// A 95 % interval of the cell's rate by batch means: its slices, Student's t. Nothing without slices.
std::optional<RateInterval> IntervalOfRate(const CellRecord& cell);

std::string ConfigName(const CellRecord& cell);  // "batch=96, conc=4"

}  // namespace rerankd::experiment
