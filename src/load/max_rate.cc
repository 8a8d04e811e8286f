#include "load/max_rate.h"

#include <cmath>

namespace rerankd::load {
namespace {

constexpr double kUp = 1.25, kDown = 0.5;
constexpr double kGiveUp = 1.0 / 64;  // of the first rate

}  // namespace

std::optional<double> RateSearch::LowestMissed() const {
  for (const auto& [rate, tally] : tallies_)
    if (tally.missed > 0) return rate;
  return std::nullopt;
}

double RateSearch::found() const {
  double best = 0;
  for (const auto& [rate, tally] : tallies_) {
    if (tally.missed > 0) break;
    best = rate;
  }
  return best;
}

bool RateSearch::confirmed() const {
  const auto tally = tallies_.find(found());
  return tally != tallies_.end() && tally->second.met >= kConfirmations;
}

std::optional<double> RateSearch::Next() const {
  if (trials_ == kMostTrials) return std::nullopt;
  if (tallies_.empty()) return first_;
  const double low = found();
  const auto high = LowestMissed();
  if (!high) return low * kUp;
  if (low == 0) return *high > first_ * kGiveUp ? std::optional(*high * kDown) : std::nullopt;
  if (*high > low * (1 + kResolution)) return std::sqrt(low * *high);
  return confirmed() ? std::nullopt : std::optional(low);
}

void RateSearch::Record(double rate, bool met) {
  Tally& tally = tallies_[rate];
  ++(met ? tally.met : tally.missed);
  ++trials_;
}

}  // namespace rerankd::load
