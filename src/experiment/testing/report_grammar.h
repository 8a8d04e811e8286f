// The grammar of the reference system's report, as a strict parser for tests: every line, blank ones
// included, must be the one that the grammar allows there.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd::experiment {

struct ParsedCell {
  bool error = false;
  long pairs = 0;
  double seconds = 0;
  long requests = 0;  // of the latency ranges
};

struct ParsedReport {
  std::string title, timestamp, model, backend, device;
  std::vector<ParsedCell> cells;
  long series_rows = 0;
  std::vector<std::string> own_sections;  // headings after the reference part
};

// One run. kInvalidArgument names the line and what was expected there. Also checks that the numbers agree
// with each other: rows with details, Pairs / Time with the throughput, request counts with pairs.
Result<ParsedReport> ParseReport(const std::string& markdown);

}  // namespace rerankd::experiment
