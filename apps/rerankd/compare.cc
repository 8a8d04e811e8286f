// rerankd compare: two results side by side.
#include "experiment/compare.h"

#include <fmt/format.h>

#include "base/file.h"
#include "command.h"
#include "common.h"

namespace rerankd {
namespace {

struct CompareFlags {
  std::string a, b, html;
  std::optional<double> fail_below;
  bool json = false;
};

Result<std::vector<experiment::Measure>> Read(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto measures = experiment::ReadMeasures(text);
  if (!measures.ok()) return measures.status().WithContext(path);
  if (experiment::IsPartial(text))
    fmt::print(stderr, "warning: {} is partial: its run was interrupted\n", path);
  return measures;
}

struct Pair {
  std::vector<experiment::Measure> a, b;
};

Result<Pair> ReadBoth(const CompareFlags& flags) {
  Pair pair;
  RERANKD_ASSIGN_OR_RETURN(pair.a, Read(flags.a));
  RERANKD_ASSIGN_OR_RETURN(pair.b, Read(flags.b));
  return pair;
}

void WarnOfMissing(const std::vector<std::string>& names, const std::string& path) {
  for (const std::string& name : names) fmt::print(stderr, "warning: only in {}: {}\n", path, name);
}

int Run(const CompareFlags& flags) {
  const auto results = ReadBoth(flags);
  if (!results.ok()) return Fail(results.status());
  const auto comparisons = experiment::Compare(results->a, results->b);
  const auto only_a = experiment::Missing(results->a, results->b);
  WarnOfMissing(only_a, flags.a);
  WarnOfMissing(experiment::Missing(results->b, results->a), flags.b);
  if (comparisons.empty())
    return Fail(InvalidArgument(fmt::format("{} and {} measured nothing in common", flags.a, flags.b)));
  fmt::print("{}",
             flags.json ? experiment::ComparisonJson(comparisons) : experiment::ComparisonTable(comparisons));
  if (!flags.html.empty()) {
    const Status status =
        WriteFileAtomically(flags.html, experiment::ComparisonHtml(comparisons, flags.a, flags.b));
    if (!status.ok()) return Fail(status);
  }
  if (!flags.fail_below) return 0;
  if (!only_a.empty())
    return Fail(
        FailedPrecondition(fmt::format("{} lacks {} of what {} measured", flags.b, only_a.size(), flags.a)));
  const auto worst = experiment::WorstRate(comparisons);
  if (!worst) return Fail(InvalidArgument("--fail-below: the results have no rate in common"));
  if (*worst >= *flags.fail_below) return 0;
  return Fail(
      FailedPrecondition(fmt::format("a rate fell to {:.3f}, below {:g}", *worst, *flags.fail_below)));
}

}  // namespace

void AddCompare(CLI::App& app, Action* action) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command =
      app.add_subcommand("compare", "two results side by side: experiments, loads, benchmarks");
  command->footer("Example:\n  rerankd compare before_results.json after_results.json --fail-below 0.97");
  command->add_option("a", flags->a, "JSON of an experiment, a load or a benchmark")->required();
  command->add_option("b", flags->b, "what is compared with it")->required();
  command->add_option("--fail-below", flags->fail_below,
                      "exit code 1 if a rate of B is below this share of A's");
  command->add_option("--html", flags->html, "write the comparison as a page too");
  command->add_flag("--json", flags->json, "JSON instead of a table");
  command->callback([flags, action] { *action = [flags] { return Run(*flags); }; });
}

}  // namespace rerankd
