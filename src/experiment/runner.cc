#include "experiment/runner.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "config/wanted_target.h"
#include "experiment/environment.h"
#include "experiment/quality.h"
#include "experiment/report.h"
#include "experiment/report_html.h"
#include "experiment/token_lengths.h"
#include "experiment/variant_runner.h"
#include "load/dataset.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

using DatasetKey = std::pair<std::string, int>;
using Datasets = std::map<DatasetKey, load::Dataset>;

std::string LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

DatasetKey KeyOf(const Settings& settings) {
  return {settings.experiment.dataset, settings.experiment.dataset_size};
}

// All that the plan names, before anything is started.
Result<Datasets> LoadDatasets(const ExperimentPlan& plan) {
  Datasets datasets;
  for (const PlanVariant& variant : plan.variants) {
    const DatasetKey key = KeyOf(variant.settings);
    if (datasets.contains(key)) continue;
    RERANKD_ASSIGN_OR_RETURN(load::Dataset dataset, load::LoadDataset(key.first, key.second));
    datasets.emplace(key, std::move(dataset));
  }
  return datasets;
}

// The server of an experiment listens on free ports of the loopback address.
Settings Served(Settings settings) {
  settings.server.host = "127.0.0.1";
  settings.server.grpc_port = 0;
  settings.server.http_port = 0;
  settings.server.prometheus_port = -1;
  return settings;
}

std::string WithoutScheme(const std::string& url) {
  const size_t end = url.find("://");
  return end == std::string::npos ? url : url.substr(end + 3);
}

bool HasTls(const std::string& url) { return url.starts_with("https://") || url.starts_with("grpcs://"); }

// One run of the plan.
struct PlannedRun {
  std::string label;
  Subject subject;
};

// A run on each target, or one on a server of our own. All targets are known before anything is measured.
Result<std::vector<PlannedRun>> RunsOf(const ExperimentPlan& plan, const Datasets& datasets) {
  std::vector<PlannedRun> runs;
  for (const PlanVariant& variant : plan.variants) {
    PlannedRun run{variant.label, {Served(variant.settings), &datasets.at(KeyOf(variant.settings)), {}}};
    const ExperimentSettings& experiment = variant.settings.experiment;
    if (experiment.targets.empty()) runs.push_back(run);
    for (const std::string& text : experiment.targets) {
      RERANKD_ASSIGN_OR_RETURN(const WantedTarget wanted, ParseTarget(text));
      load::Target& target = run.subject.target.emplace();
      target.url = wanted.url;
      target.protocol = wanted.protocol;
      target.model = wanted.model;
      if (HasTls(wanted.url)) target.ca_file = experiment.ca_file;
      RERANKD_ASSIGN_OR_RETURN(target.api_key, load::ReadApiKey(experiment.api_key_file));
      RERANKD_RETURN_IF_ERROR(CellLoad::Create(target, *run.subject.dataset, true)
                                  .status()
                                  .WithContext(fmt::format("experiment.targets: {}", text)));
      run.label = fmt::format("{}_{}@{}", variant.label, wanted.protocol, WithoutScheme(wanted.url));
      runs.push_back(run);
    }
  }
  return runs;
}

RunRecord MakeRun(const PlannedRun& planned, const std::string& stem) {
  const Settings& s = planned.subject.settings;
  RunRecord run;
  run.label = planned.label;
  run.name = (s.name.empty() ? stem : s.name) + planned.label;
  run.description = s.description;
  run.timestamp = LocalTime();
  run.dataset = planned.subject.dataset->info;
  if (const auto& target = planned.subject.target) {
    run.model = target->model;
    run.backend = target->protocol;
    run.device = target->url;
    run.server = {{"target", target->url}, {"protocol", target->protocol}};
    run.configuration = DumpExperiment(s);
    return run;
  }
  run.model = s.instances.front().model;
  run.backend = s.instances.front().backend;
  run.device = s.instances.front().device;
  run.batching = s.batching.enabled;
  run.batching_max = s.batching.max_batch_size;
  run.batching_timeout_ms = s.batching.timeout_ms;
  run.configuration = DumpSettings(s);
  run.token_lengths = MeasureTokenLengths(s, *planned.subject.dataset);
  return run;
}

// Also tries to write there: better now than after the first cell.
Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    return InvalidArgument(fmt::format("cannot make the results folder {}: {}", path, error.message()));
  const fs::path probe = fs::path(path) / fmt::format(".rerankd_{}", ::getpid());
  const Status status = WriteFileAtomically(probe.string(), "");
  fs::remove(probe, error);
  return status.WithContext("results folder");
}

// By what names them.
using QualitySets = std::map<std::tuple<std::string, std::string, int, int>, QualitySet>;

QualitySets::key_type KeyOf(const QualitySettings& q) { return {q.data, q.scores, q.queries, q.documents}; }

Result<QualitySets> LoadQualitySets(const ExperimentPlan& plan) {
  QualitySets sets;
  for (const PlanVariant& variant : plan.variants) {
    const QualitySettings& quality = variant.settings.experiment.quality;
    if (quality.data.empty() || sets.contains(KeyOf(quality))) continue;
    RERANKD_ASSIGN_OR_RETURN(QualitySet set, LoadQualitySet(quality));
    sets.emplace(KeyOf(quality), std::move(set));
  }
  return sets;
}

void CountCells(const ExperimentRecord& record, RunOutcome* outcome) {
  for (const RunRecord& run : record.runs) {
    for (const CellRecord& cell : run.cells) {
      ++(cell.good() ? outcome->good : cell.skipped ? outcome->skipped : outcome->failed);
      if (!cell.good() && outcome->reason.empty()) outcome->reason = cell.error;
    }
    if (!run.quality || run.quality->error.empty()) continue;
    ++outcome->failed;
    if (outcome->reason.empty()) outcome->reason = "ranking quality: " + run.quality->error;
  }
}

}  // namespace

std::string ResultPath(const std::string& out, const std::string& stem, const std::string& extension) {
  return (fs::path(out) / (stem + "_results" + extension)).string();
}

Status WriteReports(const ExperimentRecord& record, const std::string& out) {
  RERANKD_RETURN_IF_ERROR(WriteFileAtomically(ResultPath(out, record.stem, ".md"), MarkdownReport(record)));
  RERANKD_RETURN_IF_ERROR(WriteFileAtomically(ResultPath(out, record.stem, ".csv"), CsvReport(record)));
  return WriteFileAtomically(ResultPath(out, record.stem, ".html"), HtmlReport(record));
}

Result<RunOutcome> RunPlan(const ExperimentPlan& plan, const RunOptions& options,
                           const std::atomic<bool>& interrupt, const Log& log) {
  RERANKD_RETURN_IF_ERROR(MakeFolder(options.out));
  RERANKD_ASSIGN_OR_RETURN(const Datasets datasets, LoadDatasets(plan));
  RERANKD_ASSIGN_OR_RETURN(const QualitySets quality_sets, LoadQualitySets(plan));
  RERANKD_ASSIGN_OR_RETURN(const std::vector<PlannedRun> runs, RunsOf(plan, datasets));
  std::map<std::string, TrecRun> references;
  ExperimentRecord record;
  record.stem = plan.stem;
  record.environment = DescribeEnvironment();
  record.warnings = plan.warnings;
  const auto save = [&]() -> Status {
    record.partial = interrupt.load();
    RERANKD_RETURN_IF_ERROR(
        WriteFileAtomically(ResultPath(options.out, record.stem, ".json"), RecordToJson(record)));
    return WriteReports(record, options.out);
  };
  for (const PlannedRun& planned : runs) {
    if (interrupt.load()) break;
    record.runs.push_back(MakeRun(planned, plan.stem));
    if (!planned.label.empty()) log(record.runs.back().name);
    VariantRunner runner(planned.subject, options, interrupt, log);
    RERANKD_RETURN_IF_ERROR(runner.Run(&record.runs.back(), save));
    const auto set = quality_sets.find(KeyOf(planned.subject.settings.experiment.quality));
    if (set != quality_sets.end()) runner.MeasureQuality(set->second, &references, &record.runs.back());
  }
  RERANKD_RETURN_IF_ERROR(save());
  RunOutcome outcome;
  outcome.markdown_path = ResultPath(options.out, record.stem, ".md");
  outcome.interrupted = record.partial;
  CountCells(record, &outcome);
  return outcome;
}

}  // namespace rerankd::experiment
