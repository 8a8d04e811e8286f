#include "experiment/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiment/cell_stats.h"
#include "experiment/stats.h"

namespace rerankd::experiment {
namespace {

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string Header(const RunRecord& run, bool partial) {
  std::string text =
      fmt::format("# {}{}\n\n", run.name.empty() ? "Experiment" : run.name, partial ? " (PARTIAL)" : "");
  if (!run.description.empty()) text += fmt::format("_{}_\n\n", OneLine(run.description));
  text += fmt::format("**Timestamp:** {}\n\n**Model:** `{}`\n\n**Backend:** `{}` | **Device:** `{}`\n\n",
                      run.timestamp, run.model, run.backend, run.device);
  if (run.batching)
    text += fmt::format("**Dynamic Batching:** enabled (max_batch={}, timeout={}ms)\n\n", run.batching_max,
                        run.batching_timeout_ms);
  return text;
}

std::string SummaryRow(const CellRecord& cell, const CellStats& s) {
  if (!cell.good())
    return fmt::format("| {} | {} | ERROR | - | - | - | - | - | - |\n", cell.batch, cell.concurrency);
  return fmt::format("| {} | {} | {} | {:.2f} | {:.1f}ms | {:.1f}ms | {:.1f}ms | {:.1f} | {:.1f} |\n",
                     cell.batch, cell.concurrency, s.pairs, cell.seconds, s.latency.average, s.latency.p95,
                     s.latency.p99, s.rate, s.per_request.p95);
}

std::string MetricTable(const Summary& s, double average) {
  return fmt::format(
      "| Metric | Value |\n|--------|-------|\n| Average | {:.2f} |\n| Min | {:.2f} |\n| Max | {:.2f} |\n"
      "| Std Dev | {:.2f} |\n| P50 | {:.2f} |\n| P90 | {:.2f} |\n| P95 | {:.2f} |\n| P99 | {:.2f} |\n\n",
      average, s.min, s.max, s.std_dev, s.p50, s.p90, s.p95, s.p99);
}

std::string Analysis(const CellStats& s) {
  std::string text =
      "#### Latency vs Throughput Analysis\n\n"
      "| Latency Range | Avg Throughput | Min Throughput | Max Throughput | Count |\n"
      "|---------------|----------------|----------------|----------------|-------|\n";
  for (const Bucket& b : LatencyBuckets(s.latency_ms, s.throughput))
    text +=
        fmt::format("| {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", b.range, b.average, b.min, b.max, b.count);
  return text + fmt::format(
                    "\n**Correlation:** {:.3f} (negative correlation expected: lower latency = higher "
                    "throughput)\n\n",
                    Correlation(s.latency_ms, s.throughput));
}

std::string CellDetails(size_t number, const CellRecord& cell, const CellStats& s) {
  if (!cell.good())
    return fmt::format("### Config {}: **ERROR**\n\nError: {}{}\n\n", number, cell.skipped ? "skipped: " : "",
                       OneLine(cell.error));
  std::string text =
      fmt::format("### Config {}: batch={}, concurrency={}\n\n", number, cell.batch, cell.concurrency);
  text += fmt::format("**Total:** {} pairs in {:.2f}s\n\n", s.pairs, cell.seconds);
  text += "#### Latency (ms)\n" + MetricTable(s.latency, s.latency.average);
  text += "#### Throughput (pairs/s)\n" + MetricTable(s.per_request, s.rate);
  return text + Analysis(s);
}

// The columns of the tables, which know no rates.
std::string ReferenceName(const CellRecord& cell) {
  return fmt::format("batch={}, conc={}", cell.batch, cell.concurrency);
}

// Absent when no cell succeeded: there is nothing to be best of.
std::string Overall(const std::vector<CellRecord>& cells, const std::vector<CellStats>& stats) {
  std::vector<size_t> good;
  for (size_t i = 0; i < cells.size(); ++i)
    if (cells[i].good()) good.push_back(i);
  if (good.empty()) return "";
  double rates = 0, latencies = 0;
  size_t fastest = good.front(), quickest = good.front();
  for (const size_t i : good) {
    rates += stats[i].rate;
    latencies += stats[i].latency.average;
    if (stats[i].rate > stats[fastest].rate) fastest = i;
    if (stats[i].latency.average < stats[quickest].latency.average) quickest = i;
  }
  const auto count = static_cast<double>(good.size());
  return fmt::format(
      "## Overall Summary\n\n| Metric | Value | Config |\n|--------|-------|--------|\n"
      "| Best Throughput | {:.2f} p/s | {} |\n| Best Latency | {:.2f}ms | {} |\n"
      "| Avg Throughput | {:.2f} p/s | all configs |\n| Avg Latency | {:.2f}ms | all configs |\n\n",
      stats[fastest].rate, ReferenceName(cells[fastest]), stats[quickest].latency.average,
      ReferenceName(cells[quickest]), rates / count, latencies / count);
}

const std::vector<double>& Series(const ServerMetrics& metrics, const std::string& key) {
  static const std::vector<double> kNone;
  const auto it = metrics.history.find(key);
  return it == metrics.history.end() ? kNone : it->second;
}

std::string DashboardSummary(const ServerMetrics& metrics) {
  const std::pair<const char*, const char*> kRows[] = {
      {"GPU Memory (MB)", "gpu_memory_mb"}, {"GPU Utilization (%)", "gpu_utilization_pct"},
      {"CPU Usage (%)", "cpu_percent"},     {"Tokenization (ms)", "tokenize_ms"},
      {"Inference (ms)", "inference_ms"},   {"Queue Wait (ms)", "queue_wait_ms"},
      {"Padding Waste (%)", "padding_pct"}};
  std::string text =
      "## Dashboard Metrics Summary\n\n| Metric | Avg | Min | Max | P50 | P95 |\n"
      "|--------|-----|-----|-----|-----|-----|\n";
  for (const auto& [title, key] : kRows) {
    const Summary s = Summarize(Series(metrics, key));
    text += fmt::format("| {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", title, s.average, s.min,
                        s.max, s.p50, s.p95);
  }
  return text + "\n";
}

std::string SeriesCell(const std::vector<double>& series, size_t row, bool whole) {
  if (row >= series.size()) return "-";
  return whole ? fmt::format("{:.0f}", series[row]) : fmt::format("{:.1f}", series[row]);
}

std::string TimeSeries(const ServerMetrics& metrics) {
  const std::pair<const char*, bool> kColumns[] = {
      {"gpu_memory_mb", false}, {"gpu_utilization_pct", false}, {"cpu_percent", false},
      {"latencies", false},     {"throughput", true},           {"tokenize_ms", false},
      {"inference_ms", false},  {"queue_wait_ms", false},       {"padding_pct", false}};
  size_t rows = 0;
  for (const auto& [key, whole] : kColumns) rows = std::max(rows, Series(metrics, key).size());
  if (rows == 0) return "";
  std::string text =
      "## Dashboard Time-Series Data\n\n"
      "| Index | GPU Mem (MB) | GPU Util (%) | CPU (%) | Latency (ms) | Throughput | Tokenize (ms) | "
      "Inference "
      "(ms) | Queue (ms) | Padding (%) |\n"
      "|-----|-----|-----|-----|-----|-----|-----|-----|-----|-----|\n";
  for (size_t row = 0; row < rows; ++row) {
    text += fmt::format("| {} |", row);
    for (const auto& [key, whole] : kColumns)
      text += " " + SeriesCell(Series(metrics, key), row, whole) + " |";
    text += "\n";
  }
  return text + "\n";
}

std::string RunReport(const ExperimentRecord& record, const RunRecord& run) {
  auto parsed = ParseServerMetrics(run.metrics_json);
  const ServerMetrics metrics = parsed.ok() ? std::move(*parsed) : ServerMetrics();
  std::vector<CellStats> stats;
  for (const CellRecord& cell : run.cells) stats.push_back(StatsOf(cell));
  std::string text = Header(run, record.partial);
  text +=
      "## Results Summary\n\n| Batch | Conc | Pairs | Time(s) | Lat Avg | Lat P95 | Lat P99 | TP Avg | TP "
      "P95 |\n"
      "|-------|------|-------|---------|---------|---------|---------|--------|--------|\n";
  for (size_t i = 0; i < stats.size(); ++i) text += SummaryRow(run.cells[i], stats[i]);
  text += "\n## Detailed Metrics\n\n";
  for (size_t i = 0; i < stats.size(); ++i) text += CellDetails(i + 1, run.cells[i], stats[i]);
  text += Overall(run.cells, stats) + DashboardSummary(metrics) + TimeSeries(metrics);
  return text + OwnSections(record, run, metrics);
}

std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string CsvNumber(double value) { return value < 0 ? "" : fmt::format("{:.3f}", value); }

}  // namespace

std::string MarkdownReport(const ExperimentRecord& record) {
  std::string text;
  for (const RunRecord& run : record.runs) text += (text.empty() ? "" : "---\n\n") + RunReport(record, run);
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

std::string CsvReport(const ExperimentRecord& record) {
  std::string text =
      "run,batch,concurrency,request,start_ms,latency_ms,pairs,queue_ms,tokenize_ms,inference_ms,error,"
      "repeat,"
      "rate,late_ms\n";
  for (const RunRecord& run : record.runs)
    for (const CellRecord& cell : run.cells)
      for (const RequestSample& s : cell.requests)
        text += fmt::format("{},{},{},{},{:.3f},{:.3f},{},{},{},{},{},{},{},{:.3f}\n", CsvText(run.label),
                            cell.batch, cell.concurrency, s.index, s.start_ms, s.latency_ms, s.pairs,
                            CsvNumber(s.queue_ms), CsvNumber(s.tokenize_ms), CsvNumber(s.inference_ms),
                            CsvText(s.error), s.repeat, CsvText(cell.rate_name), s.late_ms);
  return text;
}

}  // namespace rerankd::experiment
