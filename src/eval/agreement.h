// How alike two rankings are, and whether their difference in a metric is more than chance.
#pragma once

#include <cstdint>
#include <span>

#include "eval/metrics.h"
#include "eval/trec.h"

namespace rerankd {

// Rank correlations of paired values; ties share their average rank (Spearman) or count as ties (Kendall
// tau-b). 1 when either side is constant and the other is too; 0 when only one is.
double Spearman(std::span<const double> a, std::span<const double> b);
double KendallTauB(std::span<const double> a, std::span<const double> b);

struct Agreement {
  double spearman = 0;  // means over the queries that both runs hold, over the documents in both
  double kendall_tau = 0;
  double top_overlap = 0;  // share of the first k documents that the runs have in common
  int queries = 0;
};
Agreement Compare(const TrecRun& run, const TrecRun& baseline, size_t top_k);

struct Interval {
  double mean = 0, low = 0, high = 0;
};
// Mean of a[i] - b[i] with a percentile bootstrap 95 % interval over queries (Efron 1979); same seed, same
// interval.
Interval PairedBootstrap(std::span<const double> a, std::span<const double> b, int resamples, uint64_t seed);

}  // namespace rerankd
