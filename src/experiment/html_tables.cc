#include "experiment/html_tables.h"

#include <fmt/format.h>

#include "experiment/cell_stats.h"
#include "experiment/cell_use.h"
#include "experiment/svg_chart.h"

namespace rerankd::experiment {
namespace {

std::string TokenRow(const CellRecord& cell, double peak) {
  const TokenUse use = TokensOf(cell, peak);
  std::string html = "<tr>" + TableCell(ConfigName(cell));
  html += TableCell(Known(use.per_pair, 1)) + TableCell(Known(use.real_per_s, 0)) +
          TableCell(Known(use.computed_per_s, 0)) + TableCell(Known(use.waste_pct, 1)) +
          TableCell(Known(use.peak_pct, 1));
  return html + "</tr>\n";
}

// What was computed a second, so that the padding is what stands on the real tokens.
std::string TokenChart(const RunRecord& run) {
  Chart chart;
  chart.title = "Tokens computed a second";
  chart.kind = Chart::Kind::kStackedBars;
  chart.x_title = "row of the table";
  chart.y_title = "tokens/s";
  chart.series = {{"real", {}}, {"padding", {}}};
  for (const CellRecord& cell : run.cells) {
    const TokenUse use = TokensOf(cell, -1);
    if (!cell.good() || use.computed_per_s < 0) continue;
    const auto slot = static_cast<double>(chart.categories.size());
    chart.categories.push_back(std::to_string(chart.categories.size() + 1));
    chart.series[0].points.push_back({slot, use.real_per_s, 0, 0});
    chart.series[1].points.push_back({slot, use.computed_per_s - use.real_per_s, 0, 0});
  }
  return DrawChart(chart);
}

std::string CpuRow(const CellRecord& cell) {
  const CpuUse use = CpuOf(cell);
  std::string html = "<tr>" + TableCell(ConfigName(cell));
  html += TableCell(Known(use.client_s, 2)) + TableCell(Known(use.server_s, 2)) +
          TableCell(Known(use.server_cores, 2)) + TableCell(Known(use.pairs_per_server_s, 1)) +
          TableCell(Known(use.resident_mb, 1));
  return html + "</tr>\n";
}

std::string CpuTable(const RunRecord& run) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.client_cpu_s >= 0) rows += CpuRow(cell);
  if (rows.empty()) return "";
  return "<table><tr><th>Config</th><th>Client CPU (s)</th><th>Server CPU (s)</th><th>Server cores used</th>"
         "<th>Pairs per server CPU-second</th><th>Server memory (MB)</th></tr>\n" +
         rows + "</table>\n";
}

std::string HistoryRow(const ServerMetrics& metrics, const char* name, const char* key) {
  const auto series = metrics.history.find(key);
  if (series == metrics.history.end() || series->second.empty()) return "";
  const Summary s = Summarize(series->second);
  std::string html = "<tr>" + TableCell(name);
  for (const double value : {s.average, s.min, s.p50, s.p95, s.max})
    html += TableCell(fmt::format("{:.1f}", value));
  return html + "</tr>\n";
}

// Of the server's history, half a second a point.
std::string DeviceTable(const RunRecord& run, const ServerMetrics& metrics) {
  std::string rows = HistoryRow(metrics, "CPU of the server (% of one core)", "cpu_percent");
  rows += HistoryRow(metrics, "Memory of the models (MB)", "gpu_memory_mb");
  rows += HistoryRow(metrics, "Busy with inference in the last second (%)", "gpu_utilization_pct");
  if (rows.empty()) return "";
  std::string html =
      fmt::format("<table><tr><th>{} on {}</th>", EscapeHtml(run.backend), EscapeHtml(run.device));
  for (const char* head : {"Average", "Min", "P50", "P95", "Max"}) html += fmt::format("<th>{}</th>", head);
  html += "</tr>\n" + rows + "</table>\n";
  if (metrics.worker_utilization_pct < 0) return html;
  return html + fmt::format("<p>Measured busy share of all workers at the end: {:.1f} %.</p>\n",
                            metrics.worker_utilization_pct);
}

}  // namespace

std::string TableCell(const std::string& text) { return "<td>" + EscapeHtml(text) + "</td>"; }

std::string NamedTable(const NamedValues& values) {
  std::string html = "<table class=\"text\">";
  for (const auto& [name, value] : values) html += "<tr>" + TableCell(name) + TableCell(value) + "</tr>\n";
  return html + "</table>\n";
}

std::string SummaryTable(const RunRecord& run) {
  std::string html =
      "<table><tr><th>Config</th><th>Pairs</th><th>Time (s)</th><th>Pairs/s</th><th>95 % "
      "interval</th><th>Lat avg (ms)</th>"
      "<th>p50</th><th>p95</th><th>p99</th></tr>\n";
  for (const CellRecord& cell : run.cells) {
    html += "<tr>" + TableCell(ConfigName(cell));
    if (!cell.good()) {
      html += fmt::format("<td colspan=\"8\" class=\"bad\">{}{}</td></tr>\n",
                          cell.skipped ? "skipped: " : "failed: ", EscapeHtml(cell.error));
      continue;
    }
    const CellStats s = StatsOf(cell);
    const auto interval = IntervalOfRate(cell);
    html += TableCell(fmt::format("{}", s.pairs)) + TableCell(fmt::format("{:.2f}", cell.seconds)) +
            TableCell(fmt::format("{:.1f}", s.rate)) +
            TableCell(interval ? fmt::format("{:.1f} – {:.1f}", interval->low, interval->high) : "-");
    for (const double ms : {s.latency.average, s.latency.p50, s.latency.p95, s.latency.p99})
      html += TableCell(fmt::format("{:.1f}", ms));
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string TokenSection(const RunRecord& run, const ServerMetrics& metrics) {
  std::string rows;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && cell.real_tokens >= 0) rows += TokenRow(cell, metrics.peak_multiply_adds_per_s);
  if (rows.empty()) return "";
  std::string html =
      "<h3>Tokens</h3>\n<table><tr><th>Config</th><th>Tokens/pair</th><th>Real tokens/s</th>"
      "<th>Computed tokens/s</th><th>Padding waste (%)</th><th>Share of peak (%)</th></tr>\n" +
      rows + "</table>\n";
  if (metrics.peak_multiply_adds_per_s > 0)
    html += fmt::format("<p>Peak: {:.1f} billion multiply-adds/s, measured when the server started.</p>\n",
                        metrics.peak_multiply_adds_per_s / 1e9);
  if (metrics.padded_waste_pct >= 0)
    html += fmt::format(
        "<p>Padding waste is what this server really wasted, weighted by tokens. Padding every request to "
        "its "
        "longest pair would have wasted {:.1f} % (mean of requests).</p>\n",
        metrics.padded_waste_pct);
  return html + "<div class=\"charts\">\n" + TokenChart(run) + "</div>\n";
}

std::string ResourceSection(const RunRecord& run, const ServerMetrics& metrics) {
  const std::string tables = CpuTable(run) + DeviceTable(run, metrics);
  return tables.empty() ? "" : "<h3>CPU and device</h3>\n" + tables;
}

}  // namespace rerankd::experiment
