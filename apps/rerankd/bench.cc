// rerankd bench: how fast this build is here, against what the machine can do or against another build.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "command.h"
#include "common.h"
#include "experiment/environment.h"
#include "load/dataset.h"
#include "perf/compare.h"
#include "perf/report.h"
#include "perf/suite.h"
#include "run_texts.h"

namespace rerankd {
namespace {

struct BenchFlags {
  ConfigFlags config;
  std::string data = "bundled";
  RunFiles files;
  std::string only, compare;
  int64_t pairs = 200;
  std::vector<std::string> precisions = {"fp32", "bf16", "int8"};
  std::vector<int> threads;
  std::vector<int> lengths = {16, 32, 64, 128, 256, 512};
  int rounds = 0;
  double seconds = 0.3;
  bool json = false, quiet = false;
  std::vector<std::string> arguments;  // as given, but for --compare, --rounds, --json and --quiet
};

Result<perf::Workload> ReadRunWorkload(const BenchFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(const RunTexts texts, ReadRunTexts(flags.files));
  perf::Workload workload{"text", {}};
  int64_t repaired = 0;
  for (const QueryRun& query : texts.run) {
    if (flags.pairs > 0 && workload.pairs() >= flags.pairs) break;
    workload.requests.push_back(RequestFor(query, texts, &repaired));
  }
  return workload;
}

Result<perf::Workload> ReadText(const BenchFlags& flags) {
  if (flags.only == "lengths") return perf::Workload{};
  if (!flags.files.run.empty()) return ReadRunWorkload(flags);
  const int64_t limit = flags.pairs > 0 ? flags.pairs : std::numeric_limits<int64_t>::max();
  RERANKD_ASSIGN_OR_RETURN(load::Dataset dataset, load::LoadDataset(flags.data, limit));
  return perf::TextWorkload(std::move(dataset.pairs));
}

perf::Facts DescribeRun(const BenchFlags& flags) {
  perf::Facts facts = experiment::DescribeEnvironment();
  double load[3] = {0, 0, 0};
  getloadavg(load, 3);
  facts.emplace_back("Commit", kSourceCommit);
  facts.emplace_back("Load average", fmt::format("{:.2f} before the measurement", load[0]));
  facts.emplace_back("Command", fmt::format("rerankd bench {}", fmt::join(flags.arguments, " ")));
  return facts;
}

std::vector<int> ThreadsOf(const BenchFlags& flags) {
  if (!flags.threads.empty()) return flags.threads;
  const int all = WorkerThreads(0);
  return all == 1 ? std::vector<int>{1} : std::vector<int>{1, all};
}

template <typename... Args>
void Print(bool json, const Args&... report) {
  if (json) {
    fmt::print("{}\n", perf::ToJson(report...).dump(2));
  } else {
    fmt::print("{}", perf::ToTable(report...));
  }
}

Status RunMeasurement(const BenchFlags& flags) {
  const perf::Facts facts = DescribeRun(flags);
  perf::SuiteOptions options;
  RERANKD_ASSIGN_OR_RETURN(options.settings, flags.config.Load());
  RERANKD_ASSIGN_OR_RETURN(options.text, ReadText(flags));
  options.start = StartEmbedded;
  options.precisions = flags.precisions;
  options.threads = ThreadsOf(flags);
  if (flags.only != "text") options.lengths = flags.lengths;
  options.rounds = flags.rounds > 0 ? flags.rounds : 5;
  options.seconds = flags.seconds;
  options.progress = !flags.quiet;
  RERANKD_ASSIGN_OR_RETURN(const perf::SuiteResult result, perf::RunSuite(options));
  Print(flags.json, result, facts);
  return {};
}

Status RunComparison(const BenchFlags& flags) {
  const perf::Facts facts = DescribeRun(flags);
  perf::CompareOptions options;
  std::error_code ignored;
  options.new_binary = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  options.old_binary = flags.compare;
  options.arguments = flags.arguments;
  if (flags.rounds > 0) options.rounds = flags.rounds;
  options.progress = !flags.quiet;
  RERANKD_ASSIGN_OR_RETURN(const auto comparisons, perf::Compare(options));
  Print(flags.json, comparisons, options, facts);
  return {};
}

// What was given on the command line, to be given to another process: all but `own`.
std::vector<std::string> GivenArguments(const CLI::App& command, const std::vector<CLI::Option*>& own) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : command.get_options()) {
    if (std::find(own.begin(), own.end(), option) != own.end()) continue;
    for (const std::string& value : option->results()) arguments.push_back(option->get_name() + "=" + value);
  }
  return arguments;
}

void AddWorkloads(CLI::App* command, BenchFlags* flags) {
  auto* data = command->add_option(
      "--data", flags->data,
      "pairs: .tsv of query TAB document, .jsonl of {\"query\", \"document\"} (.gz too), or 'bundled'");
  auto* run = command->add_option("--run", flags->files.run, "instead of --data: a TREC run")->excludes(data);
  auto* queries = command->add_option("--queries", flags->files.queries, "BEIR queries.jsonl")->needs(run);
  auto* corpus = command->add_option("--corpus", flags->files.corpus, "BEIR corpus.jsonl")->needs(run);
  run->needs(queries)->needs(corpus);
  command->add_option("--pairs", flags->pairs, "about as many pairs of the text [200]; 0 = all")
      ->check(CLI::Range(0, 1 << 30));
  command->add_option("--lengths", flags->lengths, "tokens of pairs of a fixed length [16,32,64,128,256,512]")
      ->delimiter(',')
      ->check(CLI::Range(1, 8192));
  command->add_option("--only", flags->only, "text or lengths instead of both")
      ->check(CLI::IsMember({"text", "lengths"}));
}

}  // namespace

void AddBench(CLI::App& app, Action* action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench", "speed on this machine: pairs/s, share of the measured peak, stages");
  command->footer(
      "Examples:\n"
      "  rerankd bench\n"
      "  rerankd bench --data pairs.tsv --precision int8,fp32 --threads 1,2 --rounds 7 --json\n"
      "  rerankd bench --compare ./rerankd-before --only text --threads 2");
  AddWorkloads(command, flags.get());
  command->add_option("--precision", flags->precisions, "precisions to measure [fp32,bf16,int8]")
      ->delimiter(',');
  command->add_option("--threads", flags->threads, "numbers of workers [1 and one a physical core]")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command->add_option("--seconds", flags->seconds, "of one sample of a fixed length, about [0.3]")
      ->check(CLI::Range(0.001, 600.0));
  auto* rounds = command->add_option("--rounds", flags->rounds, "interleaved rounds [5; 7 with --compare]")
                     ->check(CLI::Range(1, 1000));
  auto* compare =
      command->add_option("--compare", flags->compare, "another build of rerankd: ratios of this one to it");
  auto* json = command->add_flag("--json", flags->json, "JSON instead of tables");
  auto* quiet = command->add_flag("--quiet", flags->quiet, "no progress bar");
  flags->config.AddTo(*command, {"model.name", "model.backend", "model.device", "model.max_length"});
  command->callback([=] {
    flags->arguments = GivenArguments(*command, {rounds, compare, json, quiet});
    *action = [flags] {
      return ExitCode(flags->compare.empty() ? RunMeasurement(*flags) : RunComparison(*flags));
    };
  });
}

}  // namespace rerankd
