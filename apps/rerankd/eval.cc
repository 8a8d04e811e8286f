// rerankd eval: trec_eval's metrics for a run, and how it differs from a baseline.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "common.h"
#include "eval/agreement.h"
#include "eval/metrics.h"
#include "eval/trec.h"

namespace rerankd {
namespace {

constexpr size_t kTopOverlap = 10;
constexpr int kResamples = 10'000;
constexpr uint64_t kBootstrapSeed = 1;

struct EvalFlags {
  std::string qrels, run, baseline, metrics = "ndcg@10,mrr@10,map,recall@100";
  int relevance_level = 2;
  bool per_query = false, json = false;
};

struct MetricReport {
  std::string name;
  std::vector<QueryScore> scores, baseline;
  Interval difference;
};

std::vector<double> Values(const std::vector<QueryScore>& scores) {
  std::vector<double> values;
  for (const QueryScore& score : scores) values.push_back(score.value);
  return values;
}

std::vector<MetricReport> Report(const EvalFlags& flags, const std::vector<Metric>& metrics,
                                 const TrecRun& run, const TrecRun* baseline, const Qrels& qrels) {
  std::vector<MetricReport> reports;
  for (const Metric& metric : metrics) {
    MetricReport report{metric.name(), Evaluate(metric, run, qrels, flags.relevance_level), {}, {}};
    if (baseline != nullptr) {
      report.baseline = Evaluate(metric, *baseline, qrels, flags.relevance_level);
      report.difference =
          PairedBootstrap(Values(report.scores), Values(report.baseline), kResamples, kBootstrapSeed);
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

nlohmann::ordered_json ToJson(const MetricReport& report, bool per_query) {
  nlohmann::ordered_json json = {{"mean", Mean(report.scores)}, {"queries", report.scores.size()}};
  if (!report.baseline.empty()) {
    json["baseline"] = Mean(report.baseline);
    json["difference"] = report.difference.mean;
    json["difference_95"] = {report.difference.low, report.difference.high};
  }
  if (per_query)
    for (const QueryScore& score : report.scores) json["per_query"][score.query_id] = score.value;
  return json;
}

void PrintJson(const std::vector<MetricReport>& reports, const Agreement* agreement, bool per_query) {
  nlohmann::ordered_json json;
  for (const MetricReport& report : reports) json["metrics"][report.name] = ToJson(report, per_query);
  if (agreement != nullptr)
    json["agreement"] = {{"spearman", agreement->spearman},
                         {"kendall_tau_b", agreement->kendall_tau},
                         {"top10_overlap", agreement->top_overlap},
                         {"queries", agreement->queries}};
  fmt::print("{}\n", json.dump(2));
}

void PrintTable(const std::vector<MetricReport>& reports, const Agreement* agreement, bool per_query) {
  for (const MetricReport& report : reports) {
    if (per_query)
      for (const QueryScore& score : report.scores)
        fmt::print("{:<12} {:<20} {:.4f}\n", report.name, score.query_id, score.value);
    fmt::print("{:<12} {:<20} {:.4f}", report.name, "all", Mean(report.scores));
    if (!report.baseline.empty())
      fmt::print("   baseline {:.4f}   difference {:+.4f} [{:+.4f}, {:+.4f}]", Mean(report.baseline),
                 report.difference.mean, report.difference.low, report.difference.high);
    fmt::print("\n");
  }
  if (agreement != nullptr)
    fmt::print(
        "agreement with the baseline over {} queries: Spearman {:.4f}, Kendall tau-b {:.4f}, top-10 overlap "
        "{:.4f}\n",
        agreement->queries, agreement->spearman, agreement->kendall_tau, agreement->top_overlap);
}

Status RunEval(const EvalFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<Metric> metrics, ParseMetrics(flags.metrics));
  RERANKD_ASSIGN_OR_RETURN(const Qrels qrels, ReadQrels(flags.qrels));
  RERANKD_ASSIGN_OR_RETURN(const TrecRun run, ReadRun(flags.run));
  TrecRun baseline;
  Agreement agreement;
  const bool compare = !flags.baseline.empty();
  if (compare) {
    RERANKD_ASSIGN_OR_RETURN(baseline, ReadRun(flags.baseline));
    agreement = Compare(run, baseline, kTopOverlap);
  }
  const auto reports = Report(flags, metrics, run, compare ? &baseline : nullptr, qrels);
  (flags.json ? PrintJson : PrintTable)(reports, compare ? &agreement : nullptr, flags.per_query);
  return {};
}

}  // namespace

void AddEval(CLI::App& app, Action* action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "trec_eval metrics of a run, optionally against a baseline run");
  command->footer("Example:\n  rerankd eval --qrels qrels.tsv --run reranked.trec --baseline bm25.trec");
  command->add_option("--qrels", flags->qrels, "judgements: TREC (4 columns) or BEIR (3 columns); .gz too")
      ->required();
  command->add_option("--run", flags->run, "TREC run; .gz too")->required();
  command->add_option("--baseline", flags->baseline, "TREC run to compare with");
  command->add_option("--metrics", flags->metrics, "comma-separated: ndcg@k, mrr@k, map[@k], recall@k, p@k");
  command->add_option("--relevance-level", flags->relevance_level,
                      "lowest grade that binary metrics count as relevant");
  command->add_flag("--per-query", flags->per_query, "values of each query too");
  command->add_flag("--json", flags->json, "JSON instead of a table");
  command->callback([flags, action] { *action = [flags] { return ExitCode(RunEval(*flags)); }; });
}

}  // namespace rerankd
