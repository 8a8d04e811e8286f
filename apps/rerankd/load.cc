// rerankd load: what a reranking server, any of them, takes and how fast it answers.
#include <fmt/format.h>

#include <cstdio>

#include "base/progress.h"
#include "base/text.h"
#include "command.h"
#include "common.h"
#include "config/rate.h"
#include "experiment/interrupt.h"
#include "load/measure.h"
#include "load/result.h"

namespace rerankd {
namespace {

constexpr int kExitInterrupted = 130;

struct LoadFlags {
  load::LoadOptions options;
  std::string api_key_file, rate;
  bool json = false, quiet = false, find_max_rate = false;
};

// The named loads of MLPerf Inference.
Status ApplyScenario(bool find_max_rate, load::LoadOptions* options) {
  const std::string& scenario = options->scenario;
  if (scenario.empty()) return {};
  const bool open = options->rate || options->rate_share || find_max_rate || !options->replay.empty();
  if (scenario != "server" && open)
    return InvalidArgument(
        fmt::format("--scenario {} is a closed loop: it goes without --rate, --replay and "
                    "--find-max-rate",
                    scenario));
  if (scenario == "single-stream") {
    options->concurrency = 1;
  } else if (scenario == "offline") {
    options->concurrency = std::max(options->concurrency, 16);
  } else if (scenario == "server") {
    options->arrivals = "poisson";
    if (!open) return InvalidArgument("--scenario server needs --rate or --find-max-rate");
  } else {
    return InvalidArgument(fmt::format("--scenario '{}' is not single-stream, offline or server", scenario));
  }
  return {};
}

Status ApplyRate(const std::string& text, load::LoadOptions* options) {
  if (text.empty()) return {};
  const auto rate = ParseRate(text);
  if (!rate.ok()) return rate.status().WithContext("--rate");
  (rate->of_capacity ? options->rate_share : options->rate) = rate->value;
  return {};
}

load::Progress Bar(const LoadFlags& flags) {
  const load::LoadOptions& o = flags.options;
  const bool by_count = o.requests.has_value() && !o.duration_s;
  const double total = o.repeats * (by_count ? static_cast<double>(*o.requests) : o.duration_s.value_or(10));
  const auto bar = std::make_shared<ProgressBar>("load", static_cast<int64_t>(total),
                                                 by_count ? "requests" : "s", !flags.quiet);
  return [bar, by_count](int64_t done, double seconds) {
    bar->Set(by_count ? done : static_cast<int64_t>(seconds));
  };
}

int FailLoad(const Status& status) {
  Fail(status);
  return status.code() == Code::kInvalidArgument ? kExitUsage : kExitFailed;
}

int PrintMaxRate(const LoadFlags& flags, const std::atomic<bool>& interrupt) {
  const auto report = [&](const load::RateTrial& trial) {
    if (!flags.quiet) fmt::print(stderr, "{}\n", load::TrialLine(trial));
  };
  const auto result = load::FindMaxRate(flags.options, interrupt, report);
  if (!result.ok()) return FailLoad(result.status());
  fmt::print("{}", (flags.json ? load::MaxRateToJson : load::MaxRateTable)(flags.options, *result));
  for (const std::string& warning : load::MaxRateWarnings(*result))
    fmt::print(stderr, "warning: {}\n", warning);
  if (result->interrupted) return kExitInterrupted;
  return result->rate > 0 ? 0 : kExitFailed;
}

int Run(LoadFlags flags) {
  Status status = ApplyRate(flags.rate, &flags.options);
  if (status.ok()) status = ApplyScenario(flags.find_max_rate, &flags.options);
  const auto key = load::ReadApiKey(flags.api_key_file);
  if (status.ok()) status = key.status();
  if (!status.ok()) return Fail(status), kExitUsage;
  flags.options.target.api_key = *key;
  const experiment::InterruptGuard interrupt;
  if (flags.find_max_rate) return PrintMaxRate(flags, interrupt.flag());
  const auto result = load::MeasureLoad(flags.options, interrupt.flag(), Bar(flags));
  if (!result.ok()) return FailLoad(result.status());
  const auto print = flags.json ? load::ResultToJson : load::ResultTable;
  fmt::print("{}", print(flags.options, *result));
  for (const std::string& warning : load::Warnings(flags.options, *result))
    fmt::print(stderr, "warning: {}\n", warning);
  if (result->interrupted) return kExitInterrupted;
  const bool slo_missed = flags.options.slo_ms > 0 && !load::MeetsSlo(*result);
  const bool failed = result->summary.ok() == 0 || !result->stats.lost.empty() || !result->log_fault.empty();
  return failed || slo_missed ? kExitFailed : 0;
}

void AddTarget(CLI::App& command, LoadFlags* flags) {
  load::Target& target = flags->options.target;
  command
      .add_option("--target", target.url,
                  "http[s]://host:port[/prefix]; host:port or grpcs://host:port for gRPC")
      ->required();
  command.add_option("--protocol", target.protocol, Join(load::Protocols(), ", "))->required();
  command.add_option("--model", target.model, "name for protocols that send one [default]");
  command.add_option("--api-key-file", flags->api_key_file, "file with the key, sent as a bearer token");
  command.add_option("--ca-file", target.ca_file,
                     "PEM of the authorities that an https or grpcs target may have [the system's]");
  command.add_option("--timeout-ms", target.timeout_ms, "longest wait for a reply [60000]");
}

void AddShape(CLI::App& command, LoadFlags* flags) {
  load::LoadOptions& o = flags->options;
  command.add_option("--data", o.data, "pairs: .jsonl, .tsv, .json, or bundled [bundled]");
  command.add_option("--docs-per-request", o.documents, "documents of a request [1]");
  auto* concurrency =
      command.add_option("--concurrency", o.concurrency, "closed loop: requests in flight [1]");
  auto* rate =
      command.add_option("--rate", flags->rate,
                         "open loop: requests due a second, or a share of what a closed loop reaches: 80%");
  auto* replay = command.add_option("--replay", o.replay, "open loop: requests and times of a --log file");
  concurrency->excludes(rate)->excludes(replay);
  rate->excludes(replay);
  command
      .add_flag("--find-max-rate", flags->find_max_rate,
                "search the highest rate that keeps --slo-ms; --duration is that of a trial")
      ->excludes(concurrency)
      ->excludes(rate)
      ->excludes(replay);
  command.add_flag("--ideal", o.ideal, "compare an open loop with an ideal server fed the same arrivals");
  command.add_option("--arrivals", o.arrivals, "poisson or constant [poisson]");
  command.add_option("--seed", o.seed, "of Poisson arrivals [1]");
  command.add_option("--scenario", o.scenario, "single-stream, offline or server, as MLPerf names them");
  command.add_option("--duration", o.duration_s, "seconds to send for [10]");
  command.add_option("--requests", o.requests, "how many to send");
  command.add_option("--repeats", o.repeats, "how often the load is run; three or more give intervals [1]");
  command.add_option("--max-in-flight", o.max_in_flight, "open loop: due requests wait beyond it [4096]");
  command.add_option("--warm-up", o.warm_up_s, "longest warm-up in seconds; 0: one request [10]");
  command.add_option("--slo-ms", o.slo_ms, "wanted 99th percentile of latency; missed = exit code 1");
}

}  // namespace

void AddLoad(CLI::App& app, Action* action) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* command = app.add_subcommand("load", "measure any reranking server: closed and open loop");
  command->footer(
      "Examples:\n"
      "  rerankd load --target 127.0.0.1:50051 --protocol rerankd --concurrency 4 --docs-per-request 100\n"
      "  rerankd load --target http://127.0.0.1:8080 --protocol tei --rate 50 --duration 30 --slo-ms 100\n"
      "  rerankd load --target http://127.0.0.1:8080 --protocol tei --find-max-rate --slo-ms 100 "
      "--docs-per-request 20");
  AddTarget(*command, flags.get());
  AddShape(*command, flags.get());
  command->add_option("--log", flags->options.log, "write every request to this .csv or .jsonl file");
  command->add_option("--server-pid", flags->options.server_pid,
                      "measure the CPU time of this local process too");
  command->add_flag("--json", flags->json, "JSON instead of a table");
  command->add_flag("--quiet", flags->quiet, "no progress bar");
  command->callback([flags, action] { *action = [flags] { return Run(*flags); }; });
}

}  // namespace rerankd
