// The entry points of `rerankd experiment`: run, list, show, report. They read and write files and hand back
// text; printing is the caller's.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "experiment/runner.h"

namespace rerankd::experiment {

struct ExperimentOptions {
  std::vector<std::string> files;  // paths, or names of the catalogue ("06a_concurrency")
  bool all = false;                // the whole catalogue; implies skip_unavailable
  std::vector<std::string> overrides;
  std::map<std::string, std::string> environment;  // SettingsEnvironment()
  bool allow_unknown_keys = false;
  RunOptions run;
};

// Runs the files one after another; a failure does not keep the next from running. While it runs, SIGINT and
// SIGTERM end the load early and keep what is done. `log` gets lines for people, `result` the path of each
// report. Exit code: 0; 1 a cell or a file failed; 2 a file or key is wrong; 130 interrupted.
int RunExperiments(const ExperimentOptions& options, const Log& log,
                   const std::function<void(const std::string&)>& result);

// "name  description" of each experiment, one a line.
Result<std::string> ListExperiments();

// The effective configuration of each combination, as YAML documents; warnings as comments.
Result<std::string> ShowExperiment(const std::string& file, const ExperimentOptions& options);

// Writes the reports beside `json_path` anew; returns the path of the markdown report.
Result<std::string> RewriteReport(const std::string& json_path);

// $RERANKD_EXPERIMENTS_DIR, or the folder of the catalogue that came with the program.
Result<std::string> CatalogueFolder();

}  // namespace rerankd::experiment
