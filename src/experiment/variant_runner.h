// One server, our own or one that is running already, the grid of cells that is run on it, and the quality of
// its ranking.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "experiment/cell_load.h"
#include "experiment/quality.h"
#include "experiment/record.h"
#include "experiment/runner.h"
#include "experiment/server_process.h"
#include "load/dataset.h"

namespace rerankd::experiment {

// What is measured.
struct Subject {
  Settings settings;
  const load::Dataset* dataset = nullptr;
  std::optional<load::Target> target;  // nothing: a server of our own with `settings`
};

class VariantRunner {
 public:
  // All references outlive this.
  VariantRunner(const Subject& subject, const RunOptions& options, const std::atomic<bool>& interrupt,
                const Log& log)
      : settings_(subject.settings),
        dataset_(*subject.dataset),
        target_(subject.target),
        options_(options),
        interrupt_(interrupt),
        log_(log) {}

  // Serves `run->configuration` unless there is a target, appends a cell for each (batch size, concurrency or
  // rate), runs the grid as often as asked and calls `save` after each run of a cell; a failure of `save`
  // ends the run.
  Status Run(RunRecord* run, const std::function<Status()>& save);

  // Fills `run->quality`, once a cell was measured. `references` keeps rankings in fp32 for later variants.
  void MeasureQuality(const QualitySet& set, std::map<std::string, TrecRun>* references, RunRecord* run);

 private:
  struct TokenTotals {
    int64_t real = -1, computed = -1;
    double multiply_adds = -1;
  };

  std::vector<CellRecord> Grid() const;
  void RunCell(int round, RunRecord* run, CellRecord* cell);
  Status EnsureServer(RunRecord* run);
  load::Target LoadTarget() const;
  Result<std::unique_ptr<CellLoad>> NewLoad() const;
  load::ProcessUsage ServerUsage() const;
  Status StartServer(RunRecord* run);
  LoadSpec SpecOf(const CellRecord& cell, int round) const;
  Status ResolveRate(CellRecord* cell);
  Status Prepare(const LoadSpec& spec);
  Status Measure(int round, CellRecord* cell);
  LoadResult RunBeside(const LoadSpec& spec, CellRecord* cell);
  LoadResult RunWithBar(const LoadSpec& spec);
  Result<TrecRun> Rank(const QualitySet& set, const std::string& own_address) const;
  Result<TrecRun> RankInFp32(const QualitySet& set) const;
  Result<std::string> GetMetrics() const;
  TokenTotals Tokens() const;
  void FetchMetrics(RunRecord* run) const;
  void LogCell(const CellRecord& cell) const;

  const Settings& settings_;
  const load::Dataset& dataset_;
  const std::optional<load::Target>& target_;
  const RunOptions& options_;
  const std::atomic<bool>& interrupt_;
  const Log& log_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<CellLoad> load_;
  std::map<int, load::Capacity> capacities_;  // by pairs of a request
  Status start_status_;  // of the last start; a server that did not start is not tried again
};

}  // namespace rerankd::experiment
