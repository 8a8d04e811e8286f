// What one cell used: tokens, arithmetic, CPU time, memory (definitions: docs/experiments.md). Negative = not
// known.
#pragma once

#include <string>

#include "experiment/record.h"

namespace rerankd::experiment {

struct TokenUse {
  double per_pair = -1;
  double real_per_s = -1, computed_per_s = -1;  // computed: padding included
  double waste_pct = -1;                        // share of padding in what was computed
  double peak_pct = -1;                         // share of the machine's measured peak
};
// `peak` in multiply-adds/s; negative = not known.
TokenUse TokensOf(const CellRecord& cell, double peak);

struct CpuUse {
  double client_s = -1, server_s = -1;
  double server_cores = -1;  // busy, on average
  double pairs_per_server_s = -1;
  double resident_mb = -1;  // of the server, after the cell
};
CpuUse CpuOf(const CellRecord& cell);

// "12.3"; "-" where the value is not known.
std::string Known(double value, int decimals);

}  // namespace rerankd::experiment
