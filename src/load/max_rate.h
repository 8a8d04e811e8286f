// The highest rate at which a target still keeps a latency limit (MLPerf's "server" scenario).
#pragma once

#include <map>
#include <optional>

namespace rerankd::load {

// Which rate to try next. Pure: a bisection on a logarithmic scale that takes back what it believed when a
// rate that was met is missed later. Rates in requests/s.
class RateSearch {
 public:
  static constexpr double kResolution = 0.05;  // ends when a rate 5 % higher was missed
  static constexpr int kConfirmations = 2;     // trials that the rate found must have met
  static constexpr int kMostTrials = 20;

  explicit RateSearch(double first) : first_(first) {}

  std::optional<double> Next() const;  // nothing: found() is the answer
  void Record(double rate, bool met);
  double found() const;    // highest rate that was met and never missed, below all missed; 0 = none
  bool confirmed() const;  // found() was met often enough

 private:
  struct Tally {
    int met = 0, missed = 0;
  };
  std::optional<double> LowestMissed() const;

  const double first_;
  std::map<double, Tally> tallies_;
  int trials_ = 0;
};

}  // namespace rerankd::load
