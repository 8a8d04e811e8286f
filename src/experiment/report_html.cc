#include "experiment/report_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "experiment/cell_stats.h"
#include "experiment/html_tables.h"
#include "experiment/svg_chart.h"

namespace rerankd::experiment {
namespace {

constexpr int kHistogramBars = 40;
constexpr size_t kMostPoints = 600;  // of a scatter; more would only cover each other

using Cells = std::vector<CellRecord>;

// Throughput over one side of the grid, a line for each value of the other.
std::string ThroughputChart(const Cells& cells, bool over_batch) {
  std::map<int, ChartSeries> lines;
  std::map<int, int> values;
  for (const CellRecord& cell : cells) {
    if (!cell.good() || cell.open()) continue;
    const int x = over_batch ? cell.batch : cell.concurrency;
    const int line = over_batch ? cell.concurrency : cell.batch;
    const auto interval = IntervalOfRate(cell).value_or(load::MeanInterval{});
    lines[line].name = fmt::format("{} {}", over_batch ? "concurrency" : "batch", line);
    lines[line].points.push_back({static_cast<double>(x), StatsOf(cell).rate, interval.low, interval.high});
    ++values[x];
  }
  if (values.size() < 2) return "";
  Chart chart;
  chart.title = over_batch ? "Throughput over batch size" : "Throughput over concurrency";
  chart.x_title = over_batch ? "pairs a request" : "requests in flight";
  chart.y_title = "pairs/s";
  for (auto& [line, series] : lines) {
    std::sort(series.points.begin(), series.points.end(), [](auto& a, auto& b) { return a.x < b.x; });
    chart.series.push_back(std::move(series));
  }
  return DrawChart(chart);
}

// Latency over the rate at which requests were due, a line for each percentile.
std::string OpenLoopChart(const Cells& cells) {
  Chart chart;
  chart.title = "Latency over the rate (open loop)";
  chart.x_title = "requests due a second; bars: 95 % interval over repeats";
  chart.y_title = "ms";
  for (const CellRecord& cell : cells) {
    if (!cell.good() || !cell.open()) continue;
    const CellStats s = StatsOf(cell);
    const RepeatStats repeats = RepeatsOf(cell);
    for (const auto& [percentile, ms, of_repeats] :
         {std::tuple(50, s.latency.p50, repeats.p50), std::tuple(99, s.latency.p99, repeats.p99)}) {
      const auto interval = load::IntervalOfMean(of_repeats).value_or(load::MeanInterval{});
      const std::string name = fmt::format("batch {}, p{}", cell.batch, percentile);
      auto series =
          std::find_if(chart.series.begin(), chart.series.end(), [&](auto& x) { return x.name == name; });
      if (series == chart.series.end()) series = chart.series.insert(chart.series.end(), {name, {}});
      series->points.push_back({cell.rate, ms, interval.low, interval.high});
    }
  }
  for (ChartSeries& series : chart.series)
    std::sort(series.points.begin(), series.points.end(), [](auto& a, auto& b) { return a.x < b.x; });
  return DrawChart(chart);
}

std::string AgreementFact(const AgreementRecord& a) {
  std::string text = fmt::format(
      "Spearman {:.5f}, Kendall tau {:.5f}, top-10 overlap {:.4f}, scores differ by at most {:.3g}",
      a.spearman, a.kendall_tau, a.top10_overlap, a.max_difference);
  if (a.has_ndcg)
    text +=
        fmt::format(", nDCG@10 {:+.4f} ({:+.4f} … {:+.4f})", a.ndcg10_change, a.ndcg10_low, a.ndcg10_high);
  return text;
}

void AddQuality(const RunRecord& run, NamedValues* facts) {
  if (!run.quality) return;
  const QualityRecord& q = *run.quality;
  if (!q.error.empty()) facts->emplace_back("Ranking", "not complete: " + q.error);
  if (q.has_qrels)
    facts->emplace_back(
        "Ranking",
        fmt::format("{}, {} queries: nDCG@10 {:.4f} (first stage {:.4f}), MRR@10 {:.4f} ({:.4f})", q.data,
                    q.queries, q.ndcg10, q.first_stage_ndcg10, q.mrr10, q.first_stage_mrr10));
  if (q.fp32) facts->emplace_back("Against fp32", AgreementFact(*q.fp32));
  if (q.given) facts->emplace_back("Against given scores", AgreementFact(*q.given));
}

// Nines on the x axis, as the tail is what matters.
std::string PercentileChart(const Cells& cells) {
  Chart chart;
  chart.title = "Latency percentiles";
  chart.x_title = "percentile";
  chart.y_title = "ms";
  for (const double p : {0.0, 50.0, 90.0, 99.0, 99.9})
    chart.x_ticks.emplace_back(-std::log10(1 - p / 100), fmt::format("{:g}", p));
  for (const CellRecord& cell : cells) {
    if (!cell.good()) continue;
    std::vector<double> latency = StatsOf(cell).latency_ms;
    std::sort(latency.begin(), latency.end());
    ChartSeries series{ConfigName(cell), {}};
    const double resolved = std::min(3.0, std::log10(static_cast<double>(latency.size())));
    for (double nines = 0; nines <= resolved; nines += 0.05)
      series.points.push_back({nines, Percentile(latency, 100 * (1 - std::pow(10, -nines))), 0, 0});
    chart.series.push_back(std::move(series));
  }
  return DrawChart(chart);
}

std::string StageChart(const Cells& cells) {
  Chart chart;
  chart.title = "Stages of a request (mean)";
  chart.kind = Chart::Kind::kStackedBars;
  chart.y_title = "ms";
  chart.series = {{"tokenise", {}}, {"queue", {}}, {"inference", {}}, {"other", {}}};
  for (const CellRecord& cell : cells) {
    double sums[4] = {}, count = 0;
    for (const RequestSample& r : cell.requests) {
      if (!r.error.empty() || r.inference_ms < 0) continue;
      const double tokenize = std::max(r.tokenize_ms, 0.0), queue = std::max(r.queue_ms, 0.0);
      sums[0] += tokenize;
      sums[1] += queue;
      sums[2] += r.inference_ms;
      sums[3] += std::max(0.0, r.latency_ms - tokenize - queue - r.inference_ms);
      ++count;
    }
    if (count == 0) continue;
    const auto slot = static_cast<double>(chart.categories.size());
    chart.categories.push_back(cell.open() ? fmt::format("{} at {}", cell.batch, cell.rate_name)
                                           : fmt::format("{}×{}", cell.batch, cell.concurrency));
    for (size_t i = 0; i < 4; ++i) chart.series[i].points.push_back({slot, sums[i] / count, 0, 0});
  }
  chart.x_title = "batch × concurrency";
  return DrawChart(chart);
}

std::string HistogramChart(const CellRecord& cell) {
  const std::vector<double> latency = StatsOf(cell).latency_ms;
  if (latency.size() < 2) return "";
  const auto [low, high] = std::minmax_element(latency.begin(), latency.end());
  const double width = std::max((*high - *low) / kHistogramBars, 1e-9);
  std::vector<double> counts(kHistogramBars);
  for (const double ms : latency)
    ++counts[std::min(static_cast<size_t>((ms - *low) / width), counts.size() - 1)];
  Chart chart;
  chart.title = "Latency, " + ConfigName(cell);
  chart.kind = Chart::Kind::kStackedBars;
  chart.x_title = "ms";
  chart.y_title = "requests";
  chart.series = {{"", {}}};
  for (int i = 0; i < kHistogramBars; ++i) {
    const bool labelled = i % (kHistogramBars / 4) == 0;
    chart.categories.push_back(labelled ? fmt::format("{:.3g}", *low + width * i) : "");
    chart.series[0].points.push_back({static_cast<double>(i), counts[static_cast<size_t>(i)], 0, 0});
  }
  return DrawChart(chart);
}

// The slowest of each group where there are too many.
std::string OverTimeChart(const CellRecord& cell) {
  std::vector<const RequestSample*> good;
  for (const RequestSample& r : cell.requests)
    if (r.error.empty()) good.push_back(&r);
  if (good.size() < 2) return "";
  std::sort(good.begin(), good.end(), [](auto* a, auto* b) { return a->start_ms < b->start_ms; });
  const size_t group = (good.size() + kMostPoints - 1) / kMostPoints;
  Chart chart;
  chart.title = "Latency over time, " + ConfigName(cell);
  chart.kind = Chart::Kind::kPoints;
  chart.x_title = group > 1 ? fmt::format("seconds; the slowest of every {} requests", group) : "seconds";
  chart.y_title = "ms";
  chart.series = {{"", {}}};
  for (size_t i = 0; i < good.size(); i += group) {
    const auto end = good.begin() + static_cast<std::ptrdiff_t>(std::min(i + group, good.size()));
    const RequestSample* slowest =
        *std::max_element(good.begin() + static_cast<std::ptrdiff_t>(i), end,
                          [](auto* a, auto* b) { return a->latency_ms < b->latency_ms; });
    chart.series[0].points.push_back({slowest->start_ms / 1000, slowest->latency_ms, 0, 0});
  }
  return DrawChart(chart);
}

std::string HistoryChart(const ServerMetrics& metrics, const char* title, const char* unit,
                         const std::vector<std::pair<const char*, const char*>>& keys) {
  Chart chart;
  chart.title = title;
  chart.x_title = "seconds since the server's counters were reset";
  chart.y_title = unit;
  const auto times = metrics.history.find("timestamps");
  if (times == metrics.history.end()) return "";
  for (const auto& [key, name] : keys) {
    const auto values = metrics.history.find(key);
    if (values == metrics.history.end()) continue;
    ChartSeries series{keys.size() > 1 ? name : "", {}};
    for (size_t i = 0; i < std::min(times->second.size(), values->second.size()); ++i)
      series.points.push_back({times->second[i], values->second[i], 0, 0});
    chart.series.push_back(std::move(series));
  }
  return DrawChart(chart);
}

std::string HistoryCharts(const ServerMetrics& metrics) {
  std::string html = HistoryChart(metrics, "Server throughput", "pairs/s", {{"throughput", ""}});
  html +=
      HistoryChart(metrics, "Stages of the latest request", "ms",
                   {{"tokenize_ms", "tokenise"}, {"queue_wait_ms", "queue"}, {"inference_ms", "inference"}});
  html += HistoryChart(metrics, "Queue depth", "requests",
                       {{"tokenizer_queue_size", "tokenizer"}, {"model_queue_size", "model"}});
  html += HistoryChart(metrics, "CPU of the server", "% of one core", {{"cpu_percent", ""}});
  html += HistoryChart(metrics, "Memory of the models", "MB", {{"gpu_memory_mb", ""}});
  html += HistoryChart(metrics, "Busy with inference in the last second", "%", {{"gpu_utilization_pct", ""}});
  return html +
         HistoryChart(metrics, "Padding to the longest of a request would waste", "%", {{"padding_pct", ""}});
}

std::string RunHtml(const ExperimentRecord& record, const RunRecord& run) {
  std::string html = fmt::format("<h2>{}{}</h2>\n", EscapeHtml(run.name), record.partial ? " (PARTIAL)" : "");
  html += fmt::format("<p class=\"soft\">{}<br>{} · model {} · {} on {}</p>\n", EscapeHtml(run.description),
                      run.timestamp, EscapeHtml(run.model), EscapeHtml(run.backend), EscapeHtml(run.device));
  html += SummaryTable(run) + "<h3>Grid</h3>\n<div class=\"charts\">\n";
  html += ThroughputChart(run.cells, false) + ThroughputChart(run.cells, true) + OpenLoopChart(run.cells) +
          PercentileChart(run.cells) + StageChart(run.cells) +
          "</div>\n<h3>Requests</h3>\n<div class=\"charts\">\n";
  for (const CellRecord& cell : run.cells) html += HistogramChart(cell) + OverTimeChart(cell);
  const auto parsed = ParseServerMetrics(run.metrics_json);
  const ServerMetrics metrics = parsed.ok() ? *parsed : ServerMetrics();
  html += "</div>\n" + TokenSection(run, metrics) + ResourceSection(run, metrics);
  html += "<h3>Server</h3>\n<div class=\"charts\">\n" + HistoryCharts(metrics) + "</div>\n";
  NamedValues facts = {{"Data set", fmt::format("{}, {} pairs, sha256 {}", run.dataset.name,
                                                run.dataset.pairs, run.dataset.sha256)}};
  if (!run.model_sha256.empty()) facts.emplace_back("Model files", "sha256 " + run.model_sha256);
  for (const std::string& instance : run.instances) facts.emplace_back("Instance", instance);
  AddQuality(run, &facts);
  for (const CellRecord& cell : run.cells) {
    if (!cell.note.empty()) facts.emplace_back(ConfigName(cell), cell.note);
    for (const std::string& warning : CellWarnings(cell))
      facts.emplace_back(ConfigName(cell), "warning: " + warning);
  }
  return html + NamedTable(facts) + "<details><summary>Effective configuration</summary><pre>" +
         EscapeHtml(run.configuration) + "</pre></details>\n";
}

const CellRecord* Best(const RunRecord& run) {
  const CellRecord* best = nullptr;
  for (const CellRecord& cell : run.cells)
    if (cell.good() && (best == nullptr || StatsOf(cell).rate > StatsOf(*best).rate)) best = &cell;
  return best;
}

std::string IndexRow(const ExperimentRecord& record, const RunRecord& run) {
  std::string html = fmt::format("<tr><td><a href=\"{}_results.html\">{}</a></td>", EscapeHtml(record.stem),
                                 EscapeHtml(run.name + (record.partial ? " (PARTIAL)" : "")));
  html += TableCell(run.timestamp) + TableCell(run.model) + TableCell(run.backend + " on " + run.device);
  const CellRecord* best = Best(run);
  const auto failed = std::count_if(run.cells.begin(), run.cells.end(), [](auto& c) { return !c.good(); });
  html +=
      TableCell(fmt::format("{} of {}", run.cells.size() - static_cast<size_t>(failed), run.cells.size()));
  if (best == nullptr) return html + "<td colspan=\"5\" class=\"bad\">no cell succeeded</td></tr>\n";
  const CellStats s = StatsOf(*best);
  return html + TableCell(fmt::format("{:.1f}", s.rate)) + TableCell(ConfigName(*best)) +
         TableCell(fmt::format("{:.1f}", s.latency.p50)) + TableCell(fmt::format("{:.1f}", s.latency.p99)) +
         TableCell(run.quality && run.quality->has_qrels ? fmt::format("{:.4f}", run.quality->ndcg10) : "-") +
         "</tr>\n";
}

}  // namespace

std::string HtmlReport(const ExperimentRecord& record) {
  const std::string title = record.runs.empty() ? record.stem : record.runs.front().name;
  std::string body = fmt::format(
      "<p><a href=\"index.html\">all results</a> · <a href=\"{0}_results.md\">Markdown</a> · "
      "<a href=\"{0}_results.csv\">CSV</a> · <a href=\"{0}_results.json\">JSON</a></p>\n<h1>{1}</h1>\n",
      EscapeHtml(record.stem), EscapeHtml(title));
  for (const std::string& warning : record.warnings)
    body += fmt::format("<p class=\"bad\">{}</p>\n", EscapeHtml(warning));
  for (const RunRecord& run : record.runs) body += RunHtml(record, run);
  return HtmlPage(title, body + "<h2>Environment</h2>\n" + NamedTable(record.environment));
}

std::string HtmlIndex(const std::vector<ExperimentRecord>& records) {
  Chart chart;
  chart.title = "Best throughput";
  chart.kind = Chart::Kind::kStackedBars;
  chart.y_title = "pairs/s";
  chart.x_title = "experiment, numbered as in the table";
  chart.series = {{"", {}}};
  std::string rows;
  size_t number = 0;
  for (const ExperimentRecord& record : records) {
    for (const RunRecord& run : record.runs) {
      ++number;
      rows += IndexRow(record, run);
      const CellRecord* best = Best(run);
      chart.categories.push_back(std::to_string(number));
      chart.series[0].points.push_back(
          {static_cast<double>(number - 1), best ? StatsOf(*best).rate : 0, 0, 0});
    }
  }
  return HtmlPage(
      "Experiments",
      "<h1>Experiments</h1>\n<table><tr><th>Experiment</th><th>When</th><th>Model</th><th>Backend</th>"
      "<th>Good cells</th><th>Best pairs/s</th><th>at</th><th>p50 "
      "(ms)</th><th>p99</th><th>nDCG@10</th></tr>\n" +
          rows + "</table>\n<div class=\"charts\">" + DrawChart(chart) + "</div>\n");
}

}  // namespace rerankd::experiment
