#include "eval/agreement.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace rerankd {
namespace {

std::vector<double> AverageRanks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i + 1;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (size_t j = i; j < end; ++j) ranks[order[j]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return ranks;
}

double Pearson(std::span<const double> a, std::span<const double> b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return ab / std::sqrt(aa * bb);
}

double TopOverlap(const QueryRun& a, const QueryRun& b, size_t k) {
  const size_t depth = std::min({k, a.docs.size(), b.docs.size()});
  if (depth == 0) return 0;
  std::unordered_set<std::string_view> top;
  for (size_t i = 0; i < depth; ++i) top.insert(a.docs[i].id);
  size_t common = 0;
  for (size_t i = 0; i < depth; ++i) common += top.count(b.docs[i].id);
  return static_cast<double>(common) / static_cast<double>(depth);
}

}  // namespace

double Spearman(std::span<const double> a, std::span<const double> b) {
  return Pearson(AverageRanks(a), AverageRanks(b));
}

double KendallTauB(std::span<const double> a, std::span<const double> b) {
  double concordance = 0, untied_a = 0, untied_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const int sign_a = (a[i] > a[j]) - (a[i] < a[j]);
      const int sign_b = (b[i] > b[j]) - (b[i] < b[j]);
      concordance += sign_a * sign_b;
      untied_a += sign_a * sign_a;
      untied_b += sign_b * sign_b;
    }
  }
  if (untied_a == 0 || untied_b == 0) return untied_a == untied_b ? 1 : 0;
  return concordance / std::sqrt(untied_a * untied_b);
}

Agreement Compare(const TrecRun& run, const TrecRun& baseline, size_t top_k) {
  std::unordered_map<std::string_view, const QueryRun*> by_id;
  for (const QueryRun& query : baseline) by_id[query.query_id] = &query;
  Agreement sum;
  for (const QueryRun& query : run) {
    const auto found = by_id.find(query.query_id);
    if (found == by_id.end()) continue;
    std::unordered_map<std::string_view, double> other;
    for (const ScoredDoc& doc : found->second->docs) other[doc.id] = doc.score;
    std::vector<double> a, b;
    for (const ScoredDoc& doc : query.docs) {
      const auto match = other.find(doc.id);
      if (match == other.end()) continue;
      a.push_back(doc.score);
      b.push_back(match->second);
    }
    if (a.empty()) continue;
    sum.spearman += Spearman(a, b);
    sum.kendall_tau += KendallTauB(a, b);
    sum.top_overlap += TopOverlap(query, *found->second, top_k);
    ++sum.queries;
  }
  const double n = std::max(1, sum.queries);
  return {sum.spearman / n, sum.kendall_tau / n, sum.top_overlap / n, sum.queries};
}

Interval PairedBootstrap(std::span<const double> a, std::span<const double> b, int resamples, uint64_t seed) {
  std::vector<double> differences(a.size());
  std::transform(a.begin(), a.end(), b.begin(), differences.begin(), std::minus<>());
  if (differences.empty()) return {};
  const auto n = static_cast<double>(differences.size());
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<size_t> pick(0, differences.size() - 1);
  std::vector<double> means(static_cast<size_t>(resamples));
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < differences.size(); ++i) sum += differences[pick(random)];
    mean = sum / n;
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double share) {
    return means[static_cast<size_t>(share * static_cast<double>(resamples - 1))];
  };
  return {std::accumulate(differences.begin(), differences.end(), 0.0) / n, at(0.025), at(0.975)};
}

}  // namespace rerankd
