#include "eval/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

#include "base/text.h"

namespace rerankd {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"ndcg", "mrr", "map", "recall", "p"};

Result<Metric> ParseMetric(std::string_view text) {
  const auto parts = Split(text, '@');
  const auto* name = std::find(kNames.begin(), kNames.end(), parts[0]);
  Metric metric;
  bool valid = name != kNames.end() && parts.size() <= 2;
  if (valid) metric.kind = static_cast<Metric::Kind>(name - kNames.begin());
  if (parts.size() == 2) {
    const auto end = parts[1].data() + parts[1].size();
    const auto parsed = std::from_chars(parts[1].data(), end, metric.cutoff);
    valid = valid && parsed.ec == std::errc() && parsed.ptr == end && metric.cutoff > 0;
  }
  if (valid && metric.kind == Metric::Kind::kPrecision && metric.cutoff == 0) valid = false;
  if (!valid)
    return InvalidArgument("metric '" + std::string(text) +
                           "' is not known; use ndcg, mrr, map, recall or p, with a cutoff as in ndcg@10");
  return metric;
}

double Discount(size_t rank_from_zero) { return 1 / std::log2(static_cast<double>(rank_from_zero) + 2); }

double Ndcg(const std::vector<int>& ranked, const std::unordered_map<std::string, int>& grades,
            size_t cutoff) {
  std::vector<int> ideal;
  for (const auto& [id, grade] : grades)
    if (grade > 0) ideal.push_back(grade);
  std::sort(ideal.begin(), ideal.end(), std::greater<>());
  double gained = 0, best = 0;
  for (size_t i = 0; i < std::min(cutoff, ranked.size()); ++i) gained += std::max(ranked[i], 0) * Discount(i);
  for (size_t i = 0; i < std::min(cutoff, ideal.size()); ++i) best += ideal[i] * Discount(i);
  return best > 0 ? gained / best : 0;
}

}  // namespace

std::string Metric::name() const {
  std::string name(kNames[static_cast<size_t>(kind)]);
  return cutoff > 0 ? name + "@" + std::to_string(cutoff) : name;
}

Result<std::vector<Metric>> ParseMetrics(std::string_view list) {
  std::vector<Metric> metrics;
  for (std::string_view text : Split(list, ',')) {
    RERANKD_ASSIGN_OR_RETURN(Metric metric, ParseMetric(text));
    metrics.push_back(metric);
  }
  return metrics;
}

double EvaluateQuery(const Metric& metric, const std::vector<ScoredDoc>& docs,
                     const std::unordered_map<std::string, int>& grades, int relevance_level) {
  std::vector<int> ranked;  // grade at each rank; unjudged = 0
  for (const ScoredDoc& doc : docs) {
    const auto found = grades.find(doc.id);
    ranked.push_back(found == grades.end() ? 0 : found->second);
  }
  const size_t cutoff = metric.cutoff > 0 ? static_cast<size_t>(metric.cutoff) : ranked.size();
  if (metric.kind == Metric::Kind::kNdcg) return Ndcg(ranked, grades, metric.cutoff > 0 ? cutoff : SIZE_MAX);

  const auto relevant = static_cast<double>(std::count_if(
      grades.begin(), grades.end(), [&](const auto& judged) { return judged.second >= relevance_level; }));
  double hits = 0, precision_sum = 0, first = 0;
  for (size_t i = 0; i < std::min(cutoff, ranked.size()); ++i) {
    if (ranked[i] < relevance_level) continue;
    hits += 1;
    precision_sum += hits / static_cast<double>(i + 1);
    if (first == 0) first = 1 / static_cast<double>(i + 1);
  }
  switch (metric.kind) {
    case Metric::Kind::kMrr:
      return first;
    case Metric::Kind::kMap:
      return relevant > 0 ? precision_sum / relevant : 0;
    case Metric::Kind::kRecall:
      return relevant > 0 ? hits / relevant : 0;
    default:
      return hits / static_cast<double>(cutoff);
  }
}

std::vector<QueryScore> Evaluate(const Metric& metric, const TrecRun& run, const Qrels& qrels,
                                 int relevance_level) {
  std::unordered_map<std::string_view, const QueryRun*> by_id;
  for (const QueryRun& query : run) by_id[query.query_id] = &query;
  std::vector<QueryScore> scores;
  for (const auto& [id, grades] : qrels) {
    const auto found = by_id.find(id);
    scores.push_back(
        {id, found == by_id.end() ? 0 : EvaluateQuery(metric, found->second->docs, grades, relevance_level)});
  }
  std::sort(scores.begin(), scores.end(),
            [](const auto& a, const auto& b) { return a.query_id < b.query_id; });
  return scores;
}

double Mean(const std::vector<QueryScore>& scores) {
  double sum = 0;
  for (const QueryScore& score : scores) sum += score.value;
  return scores.empty() ? 0 : sum / static_cast<double>(scores.size());
}

}  // namespace rerankd
