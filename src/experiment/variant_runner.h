// One server and the grid of cells that is run on it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/settings.h"
#include "experiment/cell_load.h"
#include "experiment/record.h"
#include "experiment/runner.h"
#include "experiment/server_process.h"
#include "load/dataset.h"

namespace rerankd::experiment {

class VariantRunner {
 public:
  // All references outlive this.
  VariantRunner(const Settings& settings, const load::Dataset& dataset, const RunOptions& options,
                const std::atomic<bool>& interrupt, const Log& log)
      : settings_(settings), dataset_(dataset), options_(options), interrupt_(interrupt), log_(log) {}

  // Serves `run->configuration`, appends a cell for each (batch size, concurrency) and calls `save` after
  // each; a failure of `save` ends the run.
  Status Run(RunRecord* run, const std::function<Status()>& save);

 private:
  struct TokenTotals {
    int64_t real = -1, computed = -1;
  };

  CellRecord RunCell(int batch, int concurrency, RunRecord* run);
  Status EnsureServer(RunRecord* run);
  Status StartServer(RunRecord* run);
  LoadSpec SpecOf(const CellRecord& cell) const;
  Status Prepare(const LoadSpec& spec);
  Status Measure(CellRecord* cell);
  LoadResult RunWithBar(const LoadSpec& spec);
  Result<std::string> GetMetrics() const;
  TokenTotals Tokens() const;
  void FetchMetrics(RunRecord* run) const;
  void LogCell(const CellRecord& cell) const;

  const Settings& settings_;
  const load::Dataset& dataset_;
  const RunOptions& options_;
  const std::atomic<bool>& interrupt_;
  const Log& log_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<CellLoad> load_;
  Status start_status_;  // of the last start; a server that did not start is not tried again
};

}  // namespace rerankd::experiment
