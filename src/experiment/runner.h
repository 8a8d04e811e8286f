// Runs one experiment file: a server for every combination of its sweep, the grid on each, the reports.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/load.h"
#include "experiment/record.h"

namespace rerankd::experiment {

struct RunOptions {
  std::string out = "results";     // folder of the reports
  std::string commit;              // of the program's source, for the reports; empty = not known
  bool skip_unavailable = false;   // a server that this machine cannot run is skipped, not failed
  std::optional<double> budget_s;  // longest measured time of a cell
  bool progress = true;            // progress bars on a terminal
  // The program that serves: called with `serve --config FILE`, writes the ready line.
  std::string server_program = "/proc/self/exe";
  double server_ready_timeout_s = 120;
};

struct RunOutcome {
  std::string markdown_path;
  int good = 0, failed = 0, skipped = 0;  // cells
  std::string reason;                     // of the first cell that failed or was skipped
  bool interrupted = false;
};

using Log = std::function<void(const std::string&)>;  // one line for people

// The caller holds the folder (ResultsFolder). Failures of cells are in the outcome and in the report; the
// Status is for what kept the whole from running: data set, results folder. Raw data and reports are written
// anew after every cell.
Result<RunOutcome> RunPlan(const ExperimentPlan& plan, const RunOptions& options,
                           const std::atomic<bool>& interrupt, const Log& log);

// "<out>/<stem>_results<extension>".
std::string ResultPath(const std::string& out, const std::string& stem, const std::string& extension);

// The reports that follow from the raw data: .md, .csv and .html.
Status WriteReports(const ExperimentRecord& record, const std::string& out);

}  // namespace rerankd::experiment
