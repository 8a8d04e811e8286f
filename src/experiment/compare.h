// Two results side by side: of experiments, of `rerankd load`, or any JSON with numbers (of `rerankd bench`).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd::experiment {

// What one result says about one thing. Names are equal where two results can be compared.
struct Measure {
  enum class Better { kHigher, kLower, kNeither };
  std::string name;  // "batch=8, conc=4: pairs/s"
  Better better = Better::kNeither;
  double value = 0;
  std::vector<double> samples;  // repeated measurements behind `value`; fewer than 3: no interval
  double percentile = -1;       // `value` is this percentile of the samples; negative: their mean
  size_t repeats = 0;           // runs behind it; from 3 on the samples are one of each; 0: not known
};

// kInvalidArgument: not JSON, or it holds no number.
Result<std::vector<Measure>> ReadMeasures(const std::string& json);

// Whether a result says that it was interrupted.
bool IsPartial(const std::string& json);

struct Comparison {
  std::string name;
  Measure::Better better = Measure::Better::kNeither;
  double a = 0, b = 0;
  double ratio = 1;  // above 1: b is better; b / a where neither is
  // 95 % interval of the ratio: Student's t over repeats; with fewer than three of either, a bootstrap over
  // the samples of the runs, which knows nothing of how much another run would differ.
  std::optional<std::pair<double, double>> range;
  bool few_repeats = false;  // known, and fewer than three of either
};

// "better", "worse", "no difference shown", "too few repeats to tell", "no interval"; "" where neither is
// better.
const char* Verdict(const Comparison& comparison);

// What both hold, in the order of `a`. Same input, same interval.
std::vector<Comparison> Compare(const std::vector<Measure>& a, const std::vector<Measure>& b);

// Names of what `a` holds and `b` lacks: cells that failed in `b`, or another grid.
std::vector<std::string> Missing(const std::vector<Measure>& a, const std::vector<Measure>& b);

// The smallest ratio of a rate ("higher is better"); nothing when there is none.
std::optional<double> WorstRate(const std::vector<Comparison>& comparisons);

std::string ComparisonTable(const std::vector<Comparison>& comparisons);
std::string ComparisonJson(const std::vector<Comparison>& comparisons);
std::string ComparisonHtml(const std::vector<Comparison>& comparisons, const std::string& name_a,
                           const std::string& name_b);

}  // namespace rerankd::experiment
