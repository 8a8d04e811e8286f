#include "experiment/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string_view>

#include "experiment/cell_stats.h"
#include "experiment/report_html.h"
#include "experiment/svg_chart.h"
#include "load/spread.h"

namespace rerankd::experiment {
namespace {

using Json = nlohmann::ordered_json;
using Better = Measure::Better;

constexpr int kResamples = 2000;
constexpr uint64_t kSeed = 1;
constexpr size_t kFewestSamples = 3;
constexpr const char* kTooFew = "too few repeats to tell";

void AddCell(const std::string& prefix, const CellRecord& cell, std::vector<Measure>* measures) {
  if (!cell.good()) return;
  const CellStats s = StatsOf(cell);
  const std::string name = prefix + ConfigName(cell);
  const size_t repeats = std::max<size_t>(cell.repeats.size(), 1);
  const RepeatStats each = RepeatsOf(cell);
  const auto latency = [&](const char* which, double value, double percentile,
                           const std::vector<double>& of_repeats) {
    Measure m{name + which, Better::kLower, value, s.latency_ms, percentile, repeats};
    if (repeats >= load::kFewestRepeats) m.samples = of_repeats, m.percentile = -1;
    measures->push_back(std::move(m));
  };
  measures->push_back({name + ": pairs/s", Better::kHigher, s.rate, RateSamples(cell), -1, repeats});
  latency(": latency p50 (ms)", s.latency.p50, 50, each.p50);
  latency(": latency p99 (ms)", s.latency.p99, 99, each.p99);
}

std::vector<Measure> MeasuresOf(const ExperimentRecord& record) {
  std::vector<Measure> measures;
  for (const RunRecord& run : record.runs)
    for (const CellRecord& cell : run.cells)
      AddCell(run.label.empty() ? "" : run.label + " ", cell, &measures);
  return measures;
}

// A number in an object, or a default: results of other versions may lack it.
double NumberIn(const Json& j, const char* key) {
  const auto it = j.is_object() ? j.find(key) : j.end();
  return it != j.end() && it->is_number() ? it->get<double>() : 0;
}

// Of the seconds of a load but the first and the last, which are not whole.
std::vector<double> Windows(const Json& load, const char* key) {
  std::vector<double> values;
  const auto windows = load.find("windows");
  if (windows == load.end() || !windows->is_array()) return values;
  for (size_t i = 1; i + 1 < windows->size(); ++i)
    if ((*windows)[i].contains(key)) values.push_back(NumberIn((*windows)[i], key));
  return values;
}

// Its samples are of the repeats of a load; where there were none, of its seconds.
Measure MeasureOfLoad(const Json& load, std::string name, Better better, double value, const char* repeat_key,
                      const char* window_key) {
  Measure m{std::move(name), better, value, {}, -1, 1};
  const Json number = load.value("repeats", Json::object()).value(repeat_key, Json::object());
  if (number.contains("values")) {
    m.samples = number["values"].get<std::vector<double>>();
    m.repeats = m.samples.size();
  } else {
    m.samples = Windows(load, window_key);
  }
  return m;
}

std::vector<Measure> MeasuresOfLoad(const Json& j) {
  const Json latency = j.value("latency_ms", Json::object());
  return {MeasureOfLoad(j, "pairs/s", Better::kHigher, NumberIn(j, "pairs_per_s"), "pairs_per_s", "pairs"),
          MeasureOfLoad(j, "goodput, requests/s", Better::kHigher, NumberIn(j, "goodput_requests_per_s"),
                        "goodput_requests_per_s", ""),
          MeasureOfLoad(j, "latency p50 (ms)", Better::kLower, NumberIn(latency, "p50"), "p50_ms", "p50_ms"),
          MeasureOfLoad(j, "latency p99 (ms)", Better::kLower, NumberIn(latency, "p99"), "p99_ms", "p99_ms")};
}

std::vector<Measure> MeasuresOfMaxRate(const Json& j) {
  return {{"highest rate, requests/s", Better::kHigher, NumberIn(j, "max_rate_requests_per_s"), {}, -1},
          {"highest rate, pairs/s", Better::kHigher, NumberIn(j, "max_rate_pairs_per_s"), {}, -1},
          {"closed loop, requests/s",
           Better::kHigher,
           NumberIn(j.value("capacity", Json::object()), "requests_per_s"),
           {},
           -1}};
}

// Every number of any JSON, by its path. Which way is better shows in the usual names of rates and times.
void Flatten(const Json& j, const std::string& path, std::vector<Measure>* measures) {
  if (j.is_number()) {
    const bool rate = path.find("per_s") != std::string::npos || path.ends_with("flops");
    const bool time = path.ends_with("_ms") || path.ends_with("_us") || path.ends_with("_s");
    const Better better = rate ? Better::kHigher : time ? Better::kLower : Better::kNeither;
    measures->push_back({path, better, j.get<double>(), {}, -1});
  } else if (j.is_structured()) {
    for (const auto& item : j.items())
      Flatten(item.value(), path.empty() ? item.key() : path + "." + item.key(), measures);
  }
}

double Statistic(const Measure& m, std::vector<double> values) {
  if (m.percentile < 0)
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::sort(values.begin(), values.end());
  return Percentile(values, m.percentile);
}

double RatioOf(Better better, double a, double b) {
  const double numerator = better == Better::kLower ? a : b, denominator = better == Better::kLower ? b : a;
  return denominator > 0 ? numerator / denominator : numerator > 0 ? HUGE_VAL : 1;
}

std::optional<std::pair<double, double>> Bootstrap(const Measure& a, const Measure& b) {
  if (a.samples.size() < kFewestSamples || b.samples.size() < kFewestSamples) return std::nullopt;
  std::mt19937_64 random(kSeed);
  const auto resampled = [&](const Measure& m) {
    std::vector<double> values(m.samples.size());
    std::uniform_int_distribution<size_t> pick(0, m.samples.size() - 1);
    for (double& value : values) value = m.samples[pick(random)];
    return Statistic(m, std::move(values));
  };
  std::vector<double> ratios(kResamples);
  for (double& ratio : ratios) {
    const double value_a = resampled(a);
    ratio = RatioOf(a.better, value_a, resampled(b));
  }
  std::sort(ratios.begin(), ratios.end());
  return std::pair(Percentile(ratios, 2.5), Percentile(ratios, 97.5));
}

// Of the ratio of two geometric means, which is what repeats of a rate or a time differ by: Welch's t on
// logarithms.
std::optional<std::pair<double, double>> OverRepeats(const Measure& a, const Measure& b) {
  struct Logs {
    double mean = 0, error2 = 0;  // of the mean, squared
    double count = 0;
  };
  const auto logs_of = [](const std::vector<double>& values) {
    Logs logs;
    logs.count = static_cast<double>(values.size());
    for (const double value : values) logs.mean += std::log(value) / logs.count;
    for (const double value : values)
      logs.error2 += std::pow(std::log(value) - logs.mean, 2) / (logs.count - 1) / logs.count;
    return logs;
  };
  const auto positive = [](double value) { return value > 0; };
  for (const Measure* m : {&a, &b})
    if (!std::all_of(m->samples.begin(), m->samples.end(), positive)) return std::nullopt;
  const Logs la = logs_of(a.samples), lb = logs_of(b.samples);
  const double error2 = la.error2 + lb.error2;
  const double spread = la.error2 * la.error2 / (la.count - 1) + lb.error2 * lb.error2 / (lb.count - 1);
  const double degrees = spread > 0 ? error2 * error2 / spread : la.count + lb.count - 2;
  const double reach = load::Student975(static_cast<size_t>(degrees)) * std::sqrt(error2);
  const double log_ratio = a.better == Better::kLower ? la.mean - lb.mean : lb.mean - la.mean;
  return std::pair(std::exp(log_ratio - reach), std::exp(log_ratio + reach));
}

std::string RangeText(const Comparison& c) {
  return c.range ? fmt::format("{:.3f} .. {:.3f}", c.range->first, c.range->second) : "-";
}

}  // namespace

// A claim needs an interval without equality that is over repeats.
const char* Verdict(const Comparison& c) {
  if (c.better == Better::kNeither) return "";
  if (!c.range) return c.few_repeats ? kTooFew : "no interval";
  if (c.range->first <= 1 && c.range->second >= 1) return "no difference shown";
  if (c.few_repeats) return kTooFew;
  return c.range->first > 1 ? "better" : "worse";
}

Result<std::vector<Measure>> ReadMeasures(const std::string& json) {
  const Json j = Json::parse(json, nullptr, false);
  if (j.is_discarded()) return InvalidArgument("not JSON");
  const std::string format = j.is_object() ? j.value("format", "") : "";
  std::vector<Measure> measures;
  try {
    if (format == "rerankd-experiment") {
      RERANKD_ASSIGN_OR_RETURN(const ExperimentRecord record, RecordFromJson(json));
      measures = MeasuresOf(record);
    } else if (format == "rerankd-load") {
      measures = MeasuresOfLoad(j);
    } else if (format == "rerankd-max-rate") {
      measures = MeasuresOfMaxRate(j);
    } else {
      Flatten(j, "", &measures);
    }
  } catch (const Json::exception& e) {
    return InvalidArgument(fmt::format("damaged: {}", e.what()));
  }
  if (measures.empty()) return InvalidArgument("holds nothing that was measured");
  return measures;
}

bool IsPartial(const std::string& json) {
  const Json j = Json::parse(json, nullptr, false);
  const auto partial = j.is_object() ? j.find("partial") : j.end();
  return partial != j.end() && partial->is_boolean() && partial->get<bool>();
}

std::vector<Comparison> Compare(const std::vector<Measure>& a, const std::vector<Measure>& b) {
  std::vector<Comparison> comparisons;
  for (const Measure& m : a) {
    const auto other = std::find_if(b.begin(), b.end(), [&](const Measure& x) { return x.name == m.name; });
    if (other == b.end()) continue;
    const auto [fewest, most] = std::minmax(m.repeats, other->repeats);
    const bool enough = fewest >= load::kFewestRepeats;
    comparisons.push_back({m.name, m.better, m.value, other->value, RatioOf(m.better, m.value, other->value),
                           enough ? OverRepeats(m, *other) : Bootstrap(m, *other), most > 0 && !enough});
  }
  return comparisons;
}

std::vector<std::string> Missing(const std::vector<Measure>& a, const std::vector<Measure>& b) {
  std::vector<std::string> names;
  for (const Measure& m : a)
    if (std::none_of(b.begin(), b.end(), [&](const Measure& x) { return x.name == m.name; }))
      names.push_back(m.name);
  return names;
}

std::optional<double> WorstRate(const std::vector<Comparison>& comparisons) {
  std::optional<double> worst;
  for (const Comparison& c : comparisons)
    if (c.better == Better::kHigher) worst = std::min(worst.value_or(c.ratio), c.ratio);
  return worst;
}

std::string ComparisonTable(const std::vector<Comparison>& comparisons) {
  size_t width = 10;
  for (const Comparison& c : comparisons) width = std::max(width, c.name.size());
  std::string text =
      fmt::format("{:<{}}  {:>12}  {:>12}  {:>8}  {:>18}\n", "", width, "A", "B", "B vs A", "95 %");
  for (const Comparison& c : comparisons)
    text += fmt::format("{:<{}}  {:>12.6g}  {:>12.6g}  {:>8.3f}  {:>18}  {}\n", c.name, width, c.a, c.b,
                        c.ratio, RangeText(c), Verdict(c));
  const bool too_few = std::any_of(comparisons.begin(), comparisons.end(), [](const Comparison& c) {
    return Verdict(c) == std::string_view(kTooFew);
  });
  if (too_few)
    text +=
        "Too few repeats: an interval is of how steady one run was. Three repeats of both or more tell.\n";
  return text + "B vs A above 1: B is better, more a second or less time.\n";
}

std::string ComparisonJson(const std::vector<Comparison>& comparisons) {
  Json list = Json::array();
  for (const Comparison& c : comparisons) {
    Json j = {{"name", c.name}, {"a", c.a}, {"b", c.b}, {"ratio", c.ratio}};
    if (c.range) j["interval"] = {c.range->first, c.range->second};
    if (c.better != Better::kNeither) j["verdict"] = Verdict(c);
    list.push_back(std::move(j));
  }
  return Json{{"format", "rerankd-comparison"}, {"version", 1}, {"measures", std::move(list)}}.dump(1) + "\n";
}

std::string ComparisonHtml(const std::vector<Comparison>& comparisons, const std::string& name_a,
                           const std::string& name_b) {
  std::string body = fmt::format(
      "<h1>{} against {}</h1>\n<table><tr><th></th><th>A</th><th>B</th><th>B vs A</th>"
      "<th>95 % interval</th><th></th></tr>\n",
      EscapeHtml(name_b), EscapeHtml(name_a));
  Chart chart;
  chart.title = "B vs A, above 1: B is better";
  chart.kind = Chart::Kind::kPoints;
  chart.y_title = "ratio";
  chart.x_title = "row of the table";
  chart.series = {{"", {}}};
  for (const Comparison& c : comparisons) {
    body += fmt::format(
        "<tr><td>{}</td><td>{:.6g}</td><td>{:.6g}</td><td>{:.3f}</td><td>{}</td><td>{}</td></tr>\n",
        EscapeHtml(c.name), c.a, c.b, c.ratio, RangeText(c), Verdict(c));
    const auto [low, high] = c.range.value_or(std::pair(0.0, 0.0));
    chart.categories.push_back(std::to_string(chart.categories.size() + 1));
    chart.series[0].points.push_back({static_cast<double>(chart.categories.size() - 1), c.ratio, low, high});
  }
  return HtmlPage(name_a + " / " + name_b,
                  body + "</table>\n<div class=\"charts\">" + DrawChart(chart) + "</div>\n");
}

}  // namespace rerankd::experiment
