#include "experiment/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "experiment/interrupt.h"
#include "experiment/report_html.h"
#include "experiment/results_folder.h"
#include "load/dataset.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

constexpr int kExitFailed = 1, kExitUsage = 2, kExitInterrupted = 130;
constexpr size_t kLongestReason = 400;
constexpr const char* kBaseFile = "base_config.yaml";

SettingsSource SourceOf(const std::string& path, const ExperimentOptions& options) {
  return {path, options.overrides, options.environment, options.allow_unknown_keys};
}

Result<std::vector<std::string>> CatalogueFiles() {
  RERANKD_ASSIGN_OR_RETURN(const std::string folder, CatalogueFolder());
  std::vector<std::string> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".yaml" && entry.path().filename() != kBaseFile)
      files.push_back(entry.path().string());
  if (files.empty()) return NotFound(fmt::format("no experiments in {}", folder));
  std::sort(files.begin(), files.end());
  return files;
}

// A path, or a name of the catalogue with or without ".yaml".
std::string Resolve(const std::string& file) {
  std::error_code ignored;
  if (fs::exists(file, ignored) || file.find('/') != std::string::npos) return file;
  const auto folder = CatalogueFolder();
  if (!folder.ok()) return file;
  for (const std::string& name : {file, file + ".yaml"}) {
    const fs::path path = fs::path(*folder) / name;
    if (fs::exists(path, ignored)) return path.string();
  }
  return file;
}

struct Totals {
  int run = 0, skipped = 0, failed = 0, usage = 0;  // each file that was reached is one of them
  bool interrupted = false, index_failed = false;
  std::vector<std::string> reasons;  // "skipped 03_backend_mlx: …", a line each

  void Count(int* kind, const std::string& file, const std::string& reason) {
    ++*kind;
    Note(kind == &skipped ? "skipped" : "failed", file, reason);
  }
  void Note(const char* what, const std::string& file, const std::string& reason) {
    std::string line = fmt::format("{} {}: {}", what, fs::path(file).stem().string(), reason);
    std::replace(line.begin(), line.end(), '\n', ' ');
    if (line.size() > kLongestReason) line.replace(kLongestReason - 3, std::string::npos, "...");
    reasons.push_back(line);
  }
};

void CountOutcome(const std::string& file, const RunOutcome& outcome, Totals* totals) {
  totals->interrupted = outcome.interrupted;
  if (outcome.interrupted) {
    ++totals->run;  // what was measured is in its report, which says PARTIAL
    totals->Note("interrupted", file, fmt::format("{} cells good, {} not", outcome.good, outcome.failed));
    return;
  }
  if (outcome.failed > 0)
    totals->Count(&totals->failed, file, outcome.reason);
  else if (outcome.good == 0 && outcome.skipped > 0)
    totals->Count(&totals->skipped, file, outcome.reason);
  else
    ++totals->run;
  if (outcome.good > 0 && outcome.skipped > 0) totals->Note("skipped in part", file, outcome.reason);
}

void RunFile(const std::string& file, const ExperimentOptions& options, const std::atomic<bool>& interrupt,
             const Log& log, const std::function<void(const std::string&)>& result, Totals* totals) {
  const auto plan = LoadExperiment(SourceOf(file, options));
  if (!plan.ok()) {
    log(fmt::format("{}: {}", file, plan.status().message()));
    totals->Count(&totals->usage, file, plan.status().message());
    return;
  }
  for (const std::string& warning : plan->warnings) log("warning: " + warning);
  const auto outcome = RunPlan(*plan, options.run, interrupt, log);
  if (!outcome.ok()) {
    log(fmt::format("{}: {}", file, outcome.status().message()));
    totals->Count(&totals->failed, file, outcome.status().message());
    return;
  }
  result(outcome->markdown_path);
  CountOutcome(file, *outcome, totals);
}

// A page over all results of the folder; those that cannot be read are left out.
Status WriteIndex(const std::string& out) {
  std::vector<std::string> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(out, error))
    if (entry.path().filename().string().ends_with("_results.json")) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  std::vector<ExperimentRecord> records;
  for (const std::string& file : files) {
    const auto text = ReadFile(file);
    auto record = text.ok() ? RecordFromJson(*text) : Result<ExperimentRecord>(text.status());
    if (record.ok()) records.push_back(std::move(*record));
  }
  if (records.empty()) return {};
  return WriteFileAtomically((fs::path(out) / "index.html").string(), HtmlIndex(records));
}

// Its numbers add up to the first.
std::string SummaryLine(const Totals& totals, size_t files, size_t not_reached) {
  std::string line = fmt::format("{} experiments: {} run, {} skipped, {} failed", files, totals.run,
                                 totals.skipped, totals.failed + totals.usage);
  return not_reached > 0 ? line + fmt::format(", {} not reached", not_reached) : line;
}

int ExitCode(const Totals& totals) {
  if (totals.interrupted) return kExitInterrupted;
  if (totals.failed > 0 || totals.index_failed) return kExitFailed;
  return totals.usage > 0 ? kExitUsage : 0;
}

}  // namespace

Result<std::string> CatalogueFolder() {
  RERANKD_ASSIGN_OR_RETURN(const std::string base, load::FindInstalled("RERANKD_EXPERIMENTS_DIR", kBaseFile));
  if (fs::is_directory(base)) return base;
  return fs::path(base).parent_path().string();
}

int RunExperiments(const ExperimentOptions& asked, const Log& log,
                   const std::function<void(const std::string&)>& result) {
  ExperimentOptions options = asked;
  if (options.all) {
    const auto files = CatalogueFiles();
    if (!files.ok()) {
      log(files.status().message());
      return kExitFailed;
    }
    options.files = *files;
    options.run.skip_unavailable = true;
  }
  const auto folder = ResultsFolder::Take(options.run.out);
  if (!folder.ok()) {
    log(folder.status().message());
    return kExitFailed;
  }
  const InterruptGuard interrupt;
  Totals totals;
  size_t number = 0;
  for (const std::string& file : options.files) {
    if (interrupt.flag().load()) break;
    ++number;
    const std::string place =
        options.files.size() > 1 ? fmt::format("[{}/{}] ", number, options.files.size()) : "";
    log(place + fs::path(file).stem().string());
    RunFile(Resolve(file), options, interrupt.flag(), log, result, &totals);
  }
  totals.interrupted |= interrupt.flag().load();
  if (const Status status = WriteIndex(options.run.out); !status.ok()) {
    log(status.message());
    totals.index_failed = true;
  }
  if (options.files.size() > 1) {
    for (const std::string& reason : totals.reasons) log(reason);
    log(SummaryLine(totals, options.files.size(), options.files.size() - number));
  }
  return ExitCode(totals);
}

Result<std::string> ListExperiments() {
  RERANKD_ASSIGN_OR_RETURN(const auto files, CatalogueFiles());
  std::string text;
  for (const std::string& file : files) {
    const auto plan = LoadExperiment({file, {}, {}, true});
    const std::string description =
        plan.ok() ? plan->variants.front().settings.description : plan.status().message();
    text += fmt::format("{:<41} {}\n", fs::path(file).stem().string(), description);
  }
  return text;
}

Result<std::string> ShowExperiment(const std::string& file, const ExperimentOptions& options) {
  RERANKD_ASSIGN_OR_RETURN(const ExperimentPlan plan, LoadExperiment(SourceOf(Resolve(file), options)));
  std::string text;
  for (const std::string& warning : plan.warnings) text += fmt::format("# warning: {}\n", warning);
  for (const PlanVariant& variant : plan.variants) {
    if (plan.variants.size() > 1) text += fmt::format("---\n# {}{}\n", plan.stem, variant.label);
    text += DumpSettings(variant.settings);
  }
  return text;
}

Result<std::string> RewriteReport(const std::string& json_path) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(json_path));
  auto record = RecordFromJson(text);
  if (!record.ok()) return record.status().WithContext(json_path);
  const std::string folder = fs::path(json_path).parent_path().string();
  RERANKD_RETURN_IF_ERROR(WriteReports(*record, folder));
  RERANKD_RETURN_IF_ERROR(WriteIndex(folder.empty() ? "." : folder));
  return ResultPath(folder, record->stem, ".md");
}

}  // namespace rerankd::experiment
