// A comparison as a table, as JSON and as a page.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "experiment/compare.h"
#include "experiment/report_html.h"
#include "experiment/svg_chart.h"

namespace rerankd::experiment {
namespace {

using Json = nlohmann::ordered_json;

std::string RangeText(const Comparison& c) {
  return c.range ? fmt::format("{:.3f} .. {:.3f}", c.range->first, c.range->second) : "-";
}

std::string RangeText(const RankingChange& c) {
  return c.range ? fmt::format("{:+.4f} .. {:+.4f}", c.range->first, c.range->second) : "-";
}

template <typename Row>
size_t WidthOf(const std::vector<Row>& rows) {
  size_t width = 10;
  for (const Row& row : rows) width = std::max(width, row.name.size());
  return width;
}

std::string MeasureTable(const std::vector<Comparison>& rows) {
  if (rows.empty()) return "";
  const size_t width = WidthOf(rows);
  std::string text =
      fmt::format("{:<{}}  {:>12}  {:>12}  {:>8}  {:>18}\n", "", width, "A", "B", "B vs A", "95 %");
  for (const Comparison& c : rows)
    text += fmt::format("{:<{}}  {:>12.6g}  {:>12.6g}  {:>8.3f}  {:>18}  {}\n", c.name, width, c.a, c.b,
                        c.ratio, RangeText(c), Verdict(c));
  const bool too_few = std::any_of(
      rows.begin(), rows.end(), [](const Comparison& c) { return Verdict(c) == std::string_view(kTooFew); });
  if (too_few)
    text +=
        "Too few repeats: an interval is of how steady one run was. Three repeats of both or more tell.\n";
  return text + "B vs A above 1: B is better, more a second or less time.\n";
}

std::string RankingTable(const std::vector<RankingChange>& rows) {
  if (rows.empty()) return "";
  const size_t width = WidthOf(rows);
  std::string text =
      fmt::format("\n{:<{}}  {:>10}  {:>10}  {:>9}  {:>20}\n", "Ranking", width, "A", "B", "B - A", "95 %");
  for (const RankingChange& c : rows)
    text += fmt::format("{:<{}}  {:>10.5f}  {:>10.5f}  {:>+9.5f}  {:>20}  {}\n", c.name, width, c.a, c.b,
                        c.b - c.a, RangeText(c), Verdict(c));
  return text + "B - A above 0: B ranks better, where a verdict stands. Intervals are over queries.\n";
}

constexpr const char* kDifferent =
    "A and B were not measured under the same conditions: a ratio may tell of these, not of what was meant "
    "to "
    "be compared.";

std::string NameOf(const Difference& d) { return d.runs.empty() ? d.name : d.name + " (" + d.runs + ")"; }

std::string WarningText(const std::vector<Difference>& differences) {
  if (differences.empty()) return "";
  std::string text = fmt::format("\nWARNING: {}\n", kDifferent);
  for (const Difference& d : differences)
    text += fmt::format("  {}\n    A: {}\n    B: {}\n", NameOf(d), d.a, d.b);
  return text;
}

std::string WarningHtml(const std::vector<Difference>& differences) {
  if (differences.empty()) return "";
  std::string html = fmt::format(
      "<h2 class=\"bad\">Warning: other conditions</h2>\n<p>{}</p>\n<table class=\"text\"><tr><th></th>"
      "<th>A</th><th>B</th></tr>\n",
      kDifferent);
  for (const Difference& d : differences)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", EscapeHtml(NameOf(d)),
                        EscapeHtml(d.a), EscapeHtml(d.b));
  return html + "</table>\n";
}

Json ToJson(const Difference& d) {
  Json j = {{"name", d.name}, {"a", d.a}, {"b", d.b}};
  if (!d.runs.empty()) j["runs"] = d.runs;
  return j;
}

Json ToJson(const Comparison& c) {
  Json j = {{"name", c.name}, {"a", c.a}, {"b", c.b}, {"ratio", c.ratio}};
  if (c.range) j["interval"] = {c.range->first, c.range->second};
  if (c.better != Better::kNeither) j["verdict"] = Verdict(c);
  return j;
}

Json ToJson(const RankingChange& c) {
  Json j = {{"name", c.name}, {"a", c.a}, {"b", c.b}, {"difference", c.b - c.a}};
  if (c.range) {
    j["interval"] = {c.range->first, c.range->second};
    j["queries"] = c.queries;
  }
  if (c.better != Better::kNeither) j["verdict"] = Verdict(c);
  return j;
}

template <typename Row>
Json ListOf(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) list.push_back(ToJson(row));
  return list;
}

std::string MeasureHtml(const std::vector<Comparison>& rows) {
  if (rows.empty()) return "";
  std::string html =
      "<table><tr><th></th><th>A</th><th>B</th><th>B vs A</th><th>95 % interval</th><th></th></tr>\n";
  for (const Comparison& c : rows)
    html += fmt::format(
        "<tr><td>{}</td><td>{:.6g}</td><td>{:.6g}</td><td>{:.3f}</td><td>{}</td><td>{}</td></tr>\n",
        EscapeHtml(c.name), c.a, c.b, c.ratio, RangeText(c), Verdict(c));
  return html + "</table>\n";
}

std::string RankingHtml(const std::vector<RankingChange>& rows) {
  if (rows.empty()) return "";
  std::string html =
      "<h2>Ranking</h2>\n<table><tr><th></th><th>A</th><th>B</th><th>B - A</th><th>95 % interval</th>"
      "<th></th></tr>\n";
  for (const RankingChange& c : rows)
    html += fmt::format(
        "<tr><td>{}</td><td>{:.5f}</td><td>{:.5f}</td><td>{:+.5f}</td><td>{}</td><td>{}</td></tr>\n",
        EscapeHtml(c.name), c.a, c.b, c.b - c.a, RangeText(c), Verdict(c));
  return html + "</table>\n";
}

std::string RatioChart(const std::vector<Comparison>& rows) {
  Chart chart;
  chart.title = "B vs A, above 1: B is better";
  chart.kind = Chart::Kind::kPoints;
  chart.y_title = "ratio";
  chart.x_title = "row of the table";
  chart.series = {{"", {}}};
  for (const Comparison& c : rows) {
    const auto [low, high] = c.range.value_or(std::pair(0.0, 0.0));
    chart.categories.push_back(std::to_string(chart.categories.size() + 1));
    chart.series[0].points.push_back({static_cast<double>(chart.categories.size() - 1), c.ratio, low, high});
  }
  return DrawChart(chart);
}

}  // namespace

std::string ComparisonTable(const ResultComparison& comparison) {
  return MeasureTable(comparison.measures) + RankingTable(comparison.ranking) +
         WarningText(comparison.differences);
}

std::string ComparisonJson(const ResultComparison& comparison) {
  const Json j = {{"format", "rerankd-comparison"},
                  {"version", 1},
                  {"measures", ListOf(comparison.measures)},
                  {"ranking", ListOf(comparison.ranking)},
                  {"differences", ListOf(comparison.differences)}};
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ComparisonHtml(const ResultComparison& comparison) {
  const std::string heading =
      fmt::format("<h1>{} against {}</h1>\n", EscapeHtml(comparison.name_b), EscapeHtml(comparison.name_a));
  return HtmlPage(comparison.name_a + " / " + comparison.name_b,
                  heading + WarningHtml(comparison.differences) + MeasureHtml(comparison.measures) +
                      RankingHtml(comparison.ranking) + "<div class=\"charts\">" +
                      RatioChart(comparison.measures) + "</div>\n");
}

}  // namespace rerankd::experiment
