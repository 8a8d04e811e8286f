// Two builds of this program against each other: each sample in a fresh process, old and new taking turns
// (A B, B A, A B, …), as ratios with a bootstrap interval. The JSON has the shape of tools/ab.py, one object
// a series.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "perf/report.h"

namespace rerankd::perf {

struct CompareOptions {
  std::string new_binary, old_binary;
  std::vector<std::string> arguments;  // of `bench`, for both
  int rounds = 7;
  bool progress = true;
};

// The figures of one series, one a round; old[i] and new[i] are neighbours in time.
struct Comparison {
  std::string workload, precision;
  int threads = 1;
  std::vector<double> old_pairs_per_s, new_pairs_per_s;

  std::vector<double> ratios() const;  // new / old: above 1 the new build is faster
};

// The speed of one series in one run of `bench --json`.
struct Figure {
  std::string workload, precision;
  int threads = 1;
  double pairs_per_s = 0;
};
// kInternal if `json` is not such a report; `source` names the program in the message.
Result<std::vector<Figure>> ParseFigures(const std::string& json, const std::string& source);

// Series that only one of the two builds has are left out. Errors: a build fails, or they share no series.
Result<std::vector<Comparison>> Compare(const CompareOptions& options);

nlohmann::ordered_json ToJson(const std::vector<Comparison>& comparisons, const CompareOptions& options,
                              const Facts& facts);
std::string ToTable(const std::vector<Comparison>& comparisons, const CompareOptions& options,
                    const Facts& facts);

}  // namespace rerankd::perf
