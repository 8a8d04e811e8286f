// What a result holds that can be compared: of an experiment, of `rerankd load`, or any JSON with numbers (of
// `rerankd bench`).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd::experiment {

enum class Better { kHigher, kLower, kNeither };

// What one result says about one thing. Names are equal where two results can be compared.
struct Measure {
  std::string name;  // "batch=8, conc=4: pairs/s"
  Better better = Better::kNeither;
  double value = 0;
  std::vector<double> samples;  // repeated measurements behind `value`; fewer than 3: no interval
  double percentile = -1;       // `value` is this percentile of the samples; negative: their mean
  size_t repeats = 0;           // runs behind it; from 3 on the samples are one of each; 0: not known
};

// A figure of how well a model ranks. Such figures are compared by their difference: a ratio of two nDCG
// says little.
struct RankingFigure {
  std::string name;  // "_int8 nDCG@10"
  Better better = Better::kNeither;
  double value = 0;
  std::map<std::string, double> by_query;  // what `value` is the mean of; empty: not known
};

// What was the case while it was measured. Where two results differ in one, their ratio may tell of that.
struct Condition {
  std::string scope;  // the run of a sweep, "_int8"; empty: of all runs, or of the only one
  std::string name;   // "CPU", "model.threads"
  std::string value;
};

struct ComparedResult {
  std::vector<Measure> measures;
  std::vector<RankingFigure> ranking;
  std::vector<Condition> conditions;
  double step_ns = -1;  // the machine's speed (load/machine_speed.h), median; negative: not known
};

// kInvalidArgument: not JSON, or it holds nothing that was measured.
Result<ComparedResult> ReadComparedResult(const std::string& json);

}  // namespace rerankd::experiment
