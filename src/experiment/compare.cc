#include "experiment/compare.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "eval/agreement.h"
#include "experiment/stats.h"
#include "load/spread.h"

namespace rerankd::experiment {
namespace {

constexpr int kResamples = 2000;
constexpr uint64_t kSeed = 1;
constexpr size_t kFewestSamples = 3;

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

const char* VerdictOfInterval(const std::pair<double, double>& range, double equal) {
  if (range.first <= equal && range.second >= equal) return "no difference shown";
  return range.first > equal ? "better" : "worse";
}

// Over the queries that both ranked; other queries would make another mean.
std::optional<std::pair<double, double>> ChangeOverQueries(const RankingFigure& a, const RankingFigure& b) {
  std::vector<double> of_a, of_b;
  for (const auto& [query, value] : a.by_query) {
    const auto other = b.by_query.find(query);
    if (other == b.by_query.end()) return std::nullopt;
    of_a.push_back(value);
    of_b.push_back(other->second);
  }
  if (of_a.size() < kFewestSamples || of_a.size() != b.by_query.size()) return std::nullopt;
  const Interval change = PairedBootstrap(of_b, of_a, kResamples, kSeed);
  return std::pair(change.low, change.high);
}

template <typename Named>
std::vector<std::string> NamesOnlyIn(const std::vector<Named>& a, const std::vector<Named>& b) {
  std::vector<std::string> names;
  for (const Named& one : a)
    if (std::none_of(b.begin(), b.end(), [&](const Named& other) { return other.name == one.name; }))
      names.push_back(one.name);
  return names;
}

}  // namespace

// A claim needs an interval without equality that is over repeats.
const char* Verdict(const Comparison& c) {
  if (c.better == Better::kNeither) return "";
  if (!c.range) return c.few_repeats ? kTooFew : "no interval";
  const bool equal = c.range->first <= 1 && c.range->second >= 1;
  return c.few_repeats && !equal ? kTooFew : VerdictOfInterval(*c.range, 1);
}

const char* Verdict(const RankingChange& c) {
  if (c.better == Better::kNeither) return "";
  return c.range ? VerdictOfInterval(*c.range, 0) : "no interval";
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
  return NamesOnlyIn(a, b);
}

std::vector<std::string> Missing(const std::vector<RankingFigure>& a, const std::vector<RankingFigure>& b) {
  return NamesOnlyIn(a, b);
}

std::optional<double> WorstRate(const std::vector<Comparison>& comparisons) {
  std::optional<double> worst;
  for (const Comparison& c : comparisons)
    if (c.better == Better::kHigher) worst = std::min(worst.value_or(c.ratio), c.ratio);
  return worst;
}

std::vector<RankingChange> CompareRanking(const std::vector<RankingFigure>& a,
                                          const std::vector<RankingFigure>& b) {
  std::vector<RankingChange> changes;
  for (const RankingFigure& figure : a) {
    const auto other = std::find_if(b.begin(), b.end(), [&](const auto& x) { return x.name == figure.name; });
    if (other == b.end()) continue;
    changes.push_back({figure.name, figure.better, figure.value, other->value,
                       ChangeOverQueries(figure, *other), figure.by_query.size()});
  }
  return changes;
}

}  // namespace rerankd::experiment
