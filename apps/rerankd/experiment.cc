// rerankd experiment: run, list, show, report.
#include <fmt/format.h>

#include <cstdio>

#include "command.h"
#include "common.h"
#include "config/load.h"
#include "experiment/catalogue.h"

namespace rerankd {
namespace {

using experiment::ExperimentOptions;

struct ExperimentFlags {
  ExperimentOptions options;
  std::string file, budget;
  bool quiet = false;
};

void PrintLine(const std::string& line) { fmt::print(stderr, "{}\n", line); }

// "20s", "20" -> 20; nothing for "".
Result<std::optional<double>> ParseSeconds(std::string text) {
  if (text.empty()) return std::optional<double>();
  if (text.back() == 's') text.pop_back();
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(seconds > 0))
    return InvalidArgument("--budget '" + text + "' is not a time in seconds above 0, such as 20s");
  return std::optional<double>(seconds);
}

int PrintText(const Result<std::string>& text) {
  if (!text.ok()) return Fail(text.status());
  fmt::print("{}", *text);
  return 0;
}

void AddConfiguration(CLI::App& app, ExperimentOptions* options) {
  app.add_option("--set", options->overrides, "KEY=VALUE, any configuration key; repeatable")
      ->allow_extra_args(false);
  app.add_flag("--allow-unknown-keys", options->allow_unknown_keys,
               "unknown keys of the file are warnings, not errors");
}

void AddRun(CLI::App& parent, const std::shared_ptr<ExperimentFlags>& flags, Action* action) {
  CLI::App* run = parent.add_subcommand("run", "run experiments: serve, load, write the reports");
  auto* files = run->add_option("files", flags->options.files, "YAML files, or names of the catalogue");
  auto* all = run->add_flag("--all", flags->options.all,
                            "the whole catalogue; what this machine cannot run is skipped");
  all->excludes(files);
  run->add_option("--out", flags->options.run.out, "folder of the reports");
  run->add_flag("--skip-unavailable", flags->options.run.skip_unavailable,
                "report what this machine cannot run as skipped instead of failed");
  run->add_option("--budget", flags->budget, "longest measured time of each cell, such as 20s");
  run->add_flag("--quiet", flags->quiet, "no progress bars");
  AddConfiguration(*run, &flags->options);
  run->callback([flags, action, files, all] {
    if (files->count() + all->count() == 0) throw CLI::ValidationError("run", "needs files or --all");
    *action = [flags] {
      auto budget = ParseSeconds(flags->budget);
      if (!budget.ok()) return Fail(budget.status()), kExitUsage;
      flags->options.run.budget_s = *budget;
      flags->options.run.progress = !flags->quiet;
      flags->options.run.commit = kSourceCommit;
      flags->options.environment = SettingsEnvironment();
      return experiment::RunExperiments(flags->options, PrintLine,
                                        [](const std::string& path) { fmt::print("{}\n", path); });
    };
  });
}

void AddList(CLI::App& parent, Action* action) {
  CLI::App* list = parent.add_subcommand("list", "the catalogue");
  list->callback([action] { *action = [] { return PrintText(experiment::ListExperiments()); }; });
}

void AddShow(CLI::App& parent, const std::shared_ptr<ExperimentFlags>& flags, Action* action) {
  CLI::App* show = parent.add_subcommand("show", "the effective configuration of every combination, as YAML");
  show->add_option("file", flags->file, "YAML file, or a name of the catalogue")->required();
  AddConfiguration(*show, &flags->options);
  show->callback([flags, action] {
    *action = [flags] {
      flags->options.environment = SettingsEnvironment();
      return PrintText(experiment::ShowExperiment(flags->file, flags->options));
    };
  });
}

void AddReport(CLI::App& parent, const std::shared_ptr<ExperimentFlags>& flags, Action* action) {
  CLI::App* report = parent.add_subcommand("report", "write the reports anew from raw data");
  report->add_option("json", flags->file, "the .json that a run wrote")->required();
  report->callback([flags, action] {
    *action = [flags] {
      const auto path = experiment::RewriteReport(flags->file);
      if (!path.ok()) return Fail(path.status());
      fmt::print("{}\n", *path);
      return 0;
    };
  });
}

}  // namespace

void AddExperiment(CLI::App& app, Action* action) {
  auto flags = std::make_shared<ExperimentFlags>();
  CLI::App* command = app.add_subcommand("experiment", "measure: run YAML experiments and write reports");
  command->footer("Example:\n  rerankd experiment run 06a_concurrency --set experiment.benchmark_requests=6");
  command->require_subcommand(1);
  AddRun(*command, flags, action);
  AddList(*command, action);
  AddShow(*command, flags, action);
  AddReport(*command, flags, action);
}

}  // namespace rerankd
