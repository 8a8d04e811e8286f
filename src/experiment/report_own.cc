#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "experiment/cell_stats.h"
#include "experiment/cell_use.h"
#include "experiment/report.h"
#include "experiment/stats.h"

namespace rerankd::experiment {
namespace {

// A command line may hold what would end a cell or a row.
std::string InCell(const std::string& value) {
  std::string text;
  for (const char c : value) text += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
  return text;
}

std::string Named(const NamedValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format("| {} | {} |\n", name, InCell(value));
  return text;
}

std::string ServerText(const NamedValues& values) {
  std::string text;
  for (const auto& [name, value] : values)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  return text;
}

std::string DatasetText(const load::DatasetInfo& d) {
  const double mean = d.pairs > 0 ? static_cast<double>(d.bytes) / static_cast<double>(d.pairs) : 0;
  return fmt::format("| Data set | {}, {} pairs, {:.0f} bytes a pair, sha256 {} |\n", d.name, d.pairs, mean,
                     d.sha256);
}

std::string LengthsText(const TokenLengths& t) {
  return fmt::format(
      "| Tokens of a pair | mean {:.1f}, min {:.0f}, P50 {:.0f}, P95 {:.0f}, P99 {:.0f}, max {:.0f} "
      "(first {} pairs, uncut, special tokens included) |\n",
      t.mean, t.min, t.p50, t.p95, t.p99, t.max, t.pairs);
}

std::string Notes(const ExperimentRecord& record, const RunRecord& run) {
  std::string text;
  for (const std::string& warning : record.warnings) text += fmt::format("- {}\n", warning);
  for (const CellRecord& cell : run.cells) {
    if (!cell.note.empty()) text += fmt::format("- {}: {}\n", ConfigName(cell), cell.note);
    for (const std::string& warning : CellWarnings(cell))
      text += fmt::format("- {}: warning: {}\n", ConfigName(cell), warning);
  }
  return text.empty() ? "" : "Notes:\n\n" + text + "\n";
}

std::string Environment(const ExperimentRecord& record, const RunRecord& run) {
  std::string text = "## Environment\n\n| Item | Value |\n|------|-------|\n" + Named(record.environment);
  text += DatasetText(run.dataset);
  if (run.token_lengths) text += LengthsText(*run.token_lengths);
  if (!run.model_sha256.empty()) text += fmt::format("| Model files | sha256 {} |\n", run.model_sha256);
  if (!run.label.empty()) text += fmt::format("| Sweep | {} |\n", run.label);
  text += fmt::format("| Server | {} |\n", ServerText(run.server));
  for (const std::string& instance : run.instances) text += fmt::format("| Instance | {} |\n", instance);
  text += "\n";
  return text + Notes(record, run) + "Effective configuration:\n\n```yaml\n" + run.configuration + "```\n\n";
}

std::string StageRow(const char* title, const ServerMetrics::Stage& s) {
  return fmt::format("| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.1f}% |\n", title, s.avg, s.p50, s.p95,
                     s.p99, s.percent);
}

// Over all requests since the reset, the unmeasured ones included.
std::string Stages(const ServerMetrics& metrics) {
  if (metrics.stages.empty()) return "";
  const auto& s = metrics.stages;
  std::string text =
      "## Stage Breakdown\n\n| Stage | Avg (ms) | P50 | P95 | P99 | Percentage |\n"
      "|-------|----------|-----|-----|-----|------------|\n";
  text += StageRow("Tokenization", s.at("tokenize")) + StageRow("Queue Wait", s.at("queue_wait")) +
          StageRow("Model Inference", s.at("model_inference"));
  return text + fmt::format("| Other/gRPC | - | - | - | - | {:.1f}% |\n\n", s.at("other").percent);
}

std::string Workers(const ServerMetrics& metrics) {
  if (metrics.workers.empty()) return "";
  std::string text =
      "## Per-Worker Statistics\n\n| Worker ID | Avg Latency (ms) | P95 Latency (ms) | Throughput (q/s) | "
      "Queries |\n"
      "|-----------|------------------|------------------|------------------|---------|\n";
  for (const auto& w : metrics.workers)
    text +=
        fmt::format("| {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", w.id, w.avg, w.p95, w.throughput, w.queries);
  if (metrics.worker_utilization_pct >= 0)
    text += fmt::format("\nMeasured busy share of all workers at the end: {:.1f}%\n",
                        metrics.worker_utilization_pct);
  return text + "\n";
}

std::string TokenRow(const CellRecord& cell, double peak) {
  const TokenUse use = TokensOf(cell, peak);
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", cell.batch, cell.concurrency,
                     Known(use.per_pair, 1), Known(use.real_per_s, 0), Known(use.computed_per_s, 0),
                     Known(use.waste_pct, 1), Known(use.peak_pct, 1));
}

std::string Tokens(const RunRecord& run, const ServerMetrics& metrics) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.real_tokens >= 0) rows += TokenRow(cell, metrics.peak_multiply_adds_per_s);
  if (rows.empty()) return "";
  std::string text =
      "## Tokens\n\n| Batch | Conc | Tokens/pair | Real tokens/s | Computed tokens/s | Padding waste (%) | "
      "Share of peak (%) |\n"
      "|-------|------|-------------|---------------|-------------------|-------------------|"
      "-------------------|\n" +
      rows + "\n";
  if (metrics.peak_multiply_adds_per_s > 0)
    text += fmt::format(
        "Peak: {:.1f} billion multiply-adds/s, measured on this machine with the instructions of this "
        "precision when the server started.\n\n",
        metrics.peak_multiply_adds_per_s / 1e9);
  if (metrics.padded_waste_pct >= 0)
    text += fmt::format(
        "Padding every request to its longest pair would have wasted {:.1f}% (mean of requests); the column "
        "above "
        "is what this server really wasted, weighted by tokens.\n\n",
        metrics.padded_waste_pct);
  return text;
}

std::string CpuRow(const CellRecord& cell) {
  const CpuUse use = CpuOf(cell);
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", cell.batch, cell.concurrency,
                     Known(use.client_s, 2), Known(use.server_s, 2), Known(use.server_cores, 2),
                     Known(use.pairs_per_server_s, 1), Known(use.resident_mb, 1));
}

std::string CpuTime(const RunRecord& run) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.client_cpu_s >= 0) rows += CpuRow(cell);
  if (rows.empty()) return "";
  return "## CPU Time\n\n| Batch | Conc | Client (s) | Server (s) | Server cores used | Pairs per server "
         "CPU-second | Server memory (MB) |\n"
         "|-------|------|------------|------------|-------------------|-----------------------------|"
         "--------------------|\n" +
         rows + "\n";
}

std::string IntervalText(const std::optional<load::MeanInterval>& interval, int decimals) {
  return interval ? fmt::format("{:.{}f} .. {:.{}f}", interval->low, decimals, interval->high, decimals)
                  : "-";
}

std::string SpeedText(const CellRecord& cell) {
  double largest = 0;
  for (const RepeatRecord& r : cell.repeats) {
    const double change = load::SpeedChange(r.before, r.after);
    if (std::abs(change) > std::abs(largest)) largest = change;
  }
  return fmt::format("{:+.1f}%", 100 * largest);
}

std::string RepeatRow(const CellRecord& cell) {
  const RepeatStats stats = RepeatsOf(cell);
  const Summary rates = Summarize(RateSamples(cell));
  return fmt::format("| {} | {} | {} | {:.1f} | {} | {} | {} | {} | {} |\n", cell.batch,
                     cell.open() ? cell.rate_name : std::to_string(cell.concurrency), cell.repeats.size(),
                     StatsOf(cell).rate, IntervalText(IntervalOfRate(cell), 1),
                     rates.average > 0 ? fmt::format("{:.1f}", 100 * rates.std_dev / rates.average) : "-",
                     IntervalText(load::IntervalOfMean(stats.p50), 1),
                     IntervalText(load::IntervalOfMean(stats.p99), 1), SpeedText(cell));
}

std::string Repeats(const RunRecord& run) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && !cell.repeats.empty()) rows += RepeatRow(cell);
  if (rows.empty()) return "";
  return "## Repeats\n\n| Batch | Conc/Rate | Repeats | Pairs/s | 95 % interval | Spread (%) | P50 interval "
         "(ms) | P99 "
         "interval (ms) | Machine speed |\n"
         "|-------|-----------|---------|---------|---------------|------------|-------------------|"
         "-------------------|---------------|\n" +
         rows +
         "\nIntervals are Student's t over the repeats; with fewer than three of them, that of Pairs/s is "
         "over ten slices "
         "of the cell's time, and tells how steady one run was.\n\n";
}

std::string OpenRow(const CellRecord& cell) {
  const CellStats s = StatsOf(cell);
  std::vector<double> latency = s.latency_ms, late;
  std::sort(latency.begin(), latency.end());
  for (const RequestSample& r : cell.requests) late.push_back(r.late_ms);
  std::sort(late.begin(), late.end());
  return fmt::format("| {} | {} | {:.1f} | {:.1f} | {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.2f} |\n",
                     cell.batch, cell.rate_name, cell.rate,
                     static_cast<double>(latency.size()) / cell.seconds, cell.requests.size(),
                     cell.requests.size() - latency.size(), Percentile(latency, 50), Percentile(latency, 99),
                     Percentile(latency, 99.9), Percentile(late, 99));
}

std::string OpenLoop(const RunRecord& run) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.open() && cell.seconds > 0) rows += OpenRow(cell);
  if (rows.empty()) return "";
  return "## Open Loop\n\n| Batch | Rate | Due/s | Answered/s | Sent | Failed | P50 (ms) | P99 (ms) | P99.9 "
         "(ms) | Sent "
         "late P99 (ms) |\n"
         "|-------|------|-------|------------|------|--------|----------|----------|------------|-----------"
         "--------|\n" +
         rows +
         "\nLatency counts from the time at which a request was due. The column Conc of the tables above is "
         "the most "
         "requests that were in flight.\n\n";
}

std::string AgreementRow(const char* with, const AgreementRecord& a) {
  return fmt::format(
      "| {} | {} | {:.5f} | {:.5f} | {:.4f} | {:.3g} | {:.3g} | {} |\n", with, a.queries, a.spearman,
      a.kendall_tau, a.top10_overlap, a.mean_difference, a.max_difference,
      a.has_ndcg ? fmt::format("{:+.4f} ({:+.4f} .. {:+.4f})", a.ndcg10_change, a.ndcg10_low, a.ndcg10_high)
                 : "-");
}

std::string Quality(const RunRecord& run) {
  if (!run.quality) return "";
  const QualityRecord& q = *run.quality;
  std::string text = "## Quality\n\n";
  if (!q.error.empty()) text += fmt::format("Not complete: {}\n\n", q.error);
  if (q.queries == 0) return text;
  text += fmt::format(
      "Candidates of {} queries of {} ({} pairs), ranked by raw logits on the measured server.\n\n",
      q.queries, q.data, q.pairs);
  if (q.has_qrels)
    text += fmt::format(
        "| Ranking | nDCG@10 | MRR@10 |\n|---------|---------|--------|\n| first stage | {:.4f} | {:.4f} "
        "|\n| this model "
        "| {:.4f} | {:.4f} |\n\n",
        q.first_stage_ndcg10, q.first_stage_mrr10, q.ndcg10, q.mrr10);
  if (!q.fp32 && !q.given) return text;
  text +=
      "| Compared with | Queries | Spearman | Kendall tau | Top-10 overlap | Mean score difference | Max | "
      "nDCG@10 change (95 "
      "% interval) |\n"
      "|---------------|---------|----------|-------------|----------------|-----------------------|-----|---"
      "---------------"
      "-------------|\n";
  if (q.fp32) text += AgreementRow("fp32", *q.fp32);
  if (q.given) text += AgreementRow("given scores", *q.given);
  return text + "\n";
}

}  // namespace

std::string OwnSections(const ExperimentRecord& record, const RunRecord& run, const ServerMetrics& metrics) {
  return Environment(record, run) + Stages(metrics) + Workers(metrics) + Tokens(run, metrics) + CpuTime(run) +
         OpenLoop(run) + Quality(run) + Repeats(run);
}

}  // namespace rerankd::experiment
