#include <fmt/format.h>

#include <numeric>

#include "experiment/report.h"

namespace rerankd::experiment {
namespace {

std::string Named(const NamedValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format("| {} | {} |\n", name, value);
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

std::string Notes(const ExperimentRecord& record, const RunRecord& run) {
  std::string text;
  for (const std::string& warning : record.warnings) text += fmt::format("- {}\n", warning);
  for (const CellRecord& cell : run.cells)
    if (!cell.note.empty())
      text += fmt::format("- batch={}, concurrency={}: {}\n", cell.batch, cell.concurrency, cell.note);
  return text.empty() ? "" : "Notes:\n\n" + text + "\n";
}

std::string Environment(const ExperimentRecord& record, const RunRecord& run) {
  std::string text = "## Environment\n\n| Item | Value |\n|------|-------|\n" + Named(record.environment);
  text += DatasetText(run.dataset);
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

int64_t PairsOf(const CellRecord& cell) {
  return std::accumulate(
      cell.requests.begin(), cell.requests.end(), int64_t{0},
      [](int64_t sum, const RequestSample& s) { return sum + (s.error.empty() ? s.pairs : 0); });
}

std::string Ratio(double numerator, double denominator, int decimals) {
  if (numerator < 0 || denominator <= 0) return "-";
  return fmt::format("{:.{}f}", numerator / denominator, decimals);
}

std::string TokenRow(const CellRecord& cell) {
  const auto real = static_cast<double>(cell.real_tokens),
             computed = static_cast<double>(cell.computed_tokens);
  const auto pairs = static_cast<double>(PairsOf(cell));
  return fmt::format("| {} | {} | {} | {} | {} | {} |\n", cell.batch, cell.concurrency, Ratio(real, pairs, 1),
                     Ratio(real, cell.seconds, 0), Ratio(computed, cell.seconds, 0),
                     real < 0 ? "-" : Ratio((computed - real) * 100, computed, 1));
}

std::string Tokens(const RunRecord& run, const ServerMetrics& metrics) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.real_tokens >= 0) rows += TokenRow(cell);
  if (rows.empty()) return "";
  std::string text =
      "## Tokens\n\n| Batch | Conc | Tokens/pair | Real tokens/s | Computed tokens/s | Padding waste (%) |\n"
      "|-------|------|-------------|---------------|-------------------|-------------------|\n" +
      rows + "\n";
  if (metrics.padded_waste_pct >= 0)
    text += fmt::format(
        "Padding every request to its longest pair would have wasted {:.1f}% (mean of requests); the column "
        "above "
        "is what this server really wasted, weighted by tokens.\n\n",
        metrics.padded_waste_pct);
  return text;
}

std::string CpuRow(const CellRecord& cell) {
  const auto pairs = static_cast<double>(PairsOf(cell));
  return fmt::format("| {} | {} | {} | {} | {} | {} |\n", cell.batch, cell.concurrency,
                     Ratio(cell.client_cpu_s, 1, 2), Ratio(cell.server_cpu_s, 1, 2),
                     Ratio(cell.server_cpu_s, cell.seconds, 2), Ratio(pairs, cell.server_cpu_s, 1));
}

std::string CpuTime(const RunRecord& run) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.client_cpu_s >= 0) rows += CpuRow(cell);
  if (rows.empty()) return "";
  return "## CPU Time\n\n| Batch | Conc | Client (s) | Server (s) | Server cores used | Pairs per server "
         "CPU-second |\n"
         "|-------|------|------------|------------|-------------------|-----------------------------|\n" +
         rows + "\n";
}

}  // namespace

std::string OwnSections(const ExperimentRecord& record, const RunRecord& run, const ServerMetrics& metrics) {
  return Environment(record, run) + Stages(metrics) + Workers(metrics) + Tokens(run, metrics) + CpuTime(run);
}

}  // namespace rerankd::experiment
