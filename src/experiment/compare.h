// Two results side by side, what they measured by its ratio and how they rank by the difference.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiment/compared_result.h"
#include "experiment/conditions.h"

namespace rerankd::experiment {

struct Comparison {
  std::string name;
  Better better = Better::kNeither;
  double a = 0, b = 0;
  double ratio = 1;  // above 1: b is better; b / a where neither is
  // 95 % interval of the ratio: Student's t over repeats; with fewer than three of either, a bootstrap over
  // the samples of the runs, which knows nothing of how much another run would differ.
  std::optional<std::pair<double, double>> range;
  bool few_repeats = false;  // known, and fewer than three of either
};

inline constexpr const char* kTooFew = "too few repeats to tell";

// "better", "worse", "no difference shown", kTooFew, "no interval"; "" where neither is better.
const char* Verdict(const Comparison& comparison);

// What both hold, in the order of `a`. Same input, same interval.
std::vector<Comparison> Compare(const std::vector<Measure>& a, const std::vector<Measure>& b);

// Names of what `a` holds and `b` lacks: cells that failed in `b`, or another grid.
std::vector<std::string> Missing(const std::vector<Measure>& a, const std::vector<Measure>& b);
std::vector<std::string> Missing(const std::vector<RankingFigure>& a, const std::vector<RankingFigure>& b);

// The smallest ratio of a rate ("higher is better"); nothing when there is none.
std::optional<double> WorstRate(const std::vector<Comparison>& comparisons);

// B - A of a figure of ranking quality.
struct RankingChange {
  std::string name;
  Better better = Better::kNeither;
  double a = 0, b = 0;
  // 95 % interval of the difference, a paired bootstrap over queries; nothing where a result lacks its values
  // by query, or ranked other queries.
  std::optional<std::pair<double, double>> range;
  size_t queries = 0;  // behind the interval
};

// "better", "worse", "no difference shown", "no interval"; "" where neither is better.
const char* Verdict(const RankingChange& change);

// What both hold, in the order of `a`. Same input, same interval.
std::vector<RankingChange> CompareRanking(const std::vector<RankingFigure>& a,
                                          const std::vector<RankingFigure>& b);

// All that is said of two results. Its texts: compare_report.cc.
struct ResultComparison {
  std::string name_a, name_b;
  std::vector<Comparison> measures;
  std::vector<RankingChange> ranking;
  std::vector<Difference> differences;
};

std::string ComparisonTable(const ResultComparison& comparison);
std::string ComparisonJson(const ResultComparison& comparison);
std::string ComparisonHtml(const ResultComparison& comparison);

}  // namespace rerankd::experiment
