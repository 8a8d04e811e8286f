// The numbers of one cell (definitions: docs/experiments.md). Requests that failed count for nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiment/record.h"
#include "experiment/stats.h"
#include "load/spread.h"

namespace rerankd::experiment {

struct CellStats {
  int64_t pairs = 0;
  double rate = 0;  // pairs / wall seconds
  std::vector<double> latency_ms, throughput;
  Summary latency, per_request;
};
CellStats StatsOf(const CellRecord& cell);

// Pairs a second in each of ten equal slices of the cell's time. Empty when fewer than 20 requests were
// answered.
std::vector<double> SliceRates(const CellRecord& cell);

// One number of each repeat.
struct RepeatStats {
  std::vector<double> rates;     // pairs/s
  std::vector<double> p50, p99;  // latency, ms
};
RepeatStats RepeatsOf(const CellRecord& cell);

// Samples of the cell's rate: its repeats if there are at least 3, else the slices of its time.
std::vector<double> RateSamples(const CellRecord& cell);
// A 95 % interval of the cell's rate: Student's t over RateSamples. Nothing without them.
std::optional<load::MeanInterval> IntervalOfRate(const CellRecord& cell);

// What makes the cell's numbers less than they seem, for people: repeats and requests far from the others, a
// rate that rises or falls, a machine that changed its speed or was busy with other work, late sends,
// failures.
std::vector<std::string> CellWarnings(const CellRecord& cell);

std::string ConfigName(const CellRecord& cell);  // "batch=96, conc=4", "batch=96, rate=80%"

}  // namespace rerankd::experiment
