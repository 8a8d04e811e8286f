#include "experiment/compared_result.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "experiment/cell_stats.h"
#include "experiment/conditions.h"
#include "experiment/record.h"
#include "load/spread.h"

namespace rerankd::experiment {
namespace {

using Json = nlohmann::ordered_json;

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

RankingFigure FigureOfQueries(const std::string& name, double value, const QualityRecord& quality,
                              double QueryQuality::*of_query) {
  RankingFigure figure{name, Better::kHigher, value, {}};
  for (const QueryQuality& query : quality.by_query) figure.by_query[query.id] = query.*of_query;
  return figure;
}

// How near a ranking is to another one is no merit in itself: none of these is better or worse.
void AddAgreement(const std::string& prefix, const AgreementRecord& a, std::vector<RankingFigure>* figures) {
  figures->push_back({prefix + "Spearman", Better::kNeither, a.spearman, {}});
  figures->push_back({prefix + "Kendall tau", Better::kNeither, a.kendall_tau, {}});
  figures->push_back({prefix + "top-10 overlap", Better::kNeither, a.top10_overlap, {}});
  figures->push_back({prefix + "largest score difference", Better::kNeither, a.max_difference, {}});
}

void AddRanking(const std::string& prefix, const QualityRecord& q, std::vector<RankingFigure>* figures) {
  if (q.has_qrels) {
    figures->push_back(FigureOfQueries(prefix + "nDCG@10", q.ndcg10, q, &QueryQuality::ndcg10));
    figures->push_back(FigureOfQueries(prefix + "MRR@10", q.mrr10, q, &QueryQuality::mrr10));
  }
  if (q.fp32) AddAgreement(prefix + "with fp32: ", *q.fp32, figures);
  if (q.given) AddAgreement(prefix + "with given scores: ", *q.given, figures);
}

ComparedResult ResultOf(const ExperimentRecord& record) {
  ComparedResult result;
  for (const RunRecord& run : record.runs) {
    const std::string prefix = run.label.empty() ? "" : run.label + " ";
    for (const CellRecord& cell : run.cells) AddCell(prefix, cell, &result.measures);
    if (run.quality) AddRanking(prefix, *run.quality, &result.ranking);
  }
  result.conditions = ConditionsOf(record);
  result.step_ns = StepOf(record);
  return result;
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

}  // namespace

Result<ComparedResult> ReadComparedResult(const std::string& json) {
  const Json j = Json::parse(json, nullptr, false);
  if (j.is_discarded()) return InvalidArgument("not JSON");
  const std::string format = j.is_object() ? j.value("format", "") : "";
  ComparedResult result;
  try {
    if (format == "rerankd-experiment") {
      RERANKD_ASSIGN_OR_RETURN(const ExperimentRecord record, RecordFromJson(json));
      result = ResultOf(record);
    } else if (format == "rerankd-load") {
      result.measures = MeasuresOfLoad(j);
      result.conditions = ConditionsOfLoad(j);
      result.step_ns = StepOfLoad(j);
    } else if (format == "rerankd-max-rate") {
      result.measures = MeasuresOfMaxRate(j);
      result.conditions = ConditionsOfMaxRate(j);
    } else {
      Flatten(j, "", &result.measures);
      result.conditions = ConditionsOfTexts(j);
    }
  } catch (const Json::exception& e) {
    return InvalidArgument(fmt::format("damaged: {}", e.what()));
  }
  if (result.measures.empty() && result.ranking.empty())
    return InvalidArgument("holds nothing that was measured");
  return result;
}

}  // namespace rerankd::experiment
