// What a load measured, in numbers that do not grow with it. Milliseconds, unless named otherwise.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "load/generator.h"

namespace rerankd::load {

// A histogram of times. Recorded in nanoseconds, read in milliseconds.
class Times {
 public:
  void Merge(const Times& other) { histogram_.Merge(other.histogram_); }
  void Record(double ms) { histogram_.Record(static_cast<int64_t>(ms * 1e6)); }
  int64_t count() const { return histogram_.count(); }
  double min() const { return Ms(histogram_.min()); }
  double max() const { return Ms(histogram_.max()); }
  double mean() const { return histogram_.mean() / 1e6; }
  double Percentile(double p) const { return Ms(histogram_.Percentile(p)); }

 private:
  static double Ms(int64_t ns) { return static_cast<double>(ns) / 1e6; }
  Histogram histogram_;
};

// Requests that ended alike.
struct OutcomeSummary {
  Outcome outcome = Outcome::kOk;
  int status = 0;
  int64_t count = 0;
  Times latency;
  std::string detail;  // of the first one
};

// The requests that were due in one second of the load.
struct Window {
  int64_t due = 0, ok = 0, pairs = 0;  // pairs: of those that ended well
  Times latency;                       // of those that ended well
};

class Summary {
 public:
  explicit Summary(double slo_ms) : slo_ms_(slo_ms) {}  // 0 = none
  void Add(const Sample& sample);
  // Counts what `later` holds too; its seconds follow those that are here.
  void Merge(const Summary& later);

  int64_t requests() const { return requests_; }
  int64_t ok() const { return latency_.count(); }
  int64_t ok_pairs() const { return ok_pairs_; }
  // Those that ended well within the SLO; without an SLO all that ended well.
  int64_t good() const { return good_; }
  int64_t good_pairs() const { return good_pairs_; }
  double slo_ms() const { return slo_ms_; }
  const Times& latency() const { return latency_; }            // of requests that ended well
  const Times& timing_error() const { return timing_error_; }  // sent - intended, of all
  const Times& queue() const { return queue_; }                // as the target says, where it does
  const Times& tokenize() const { return tokenize_; }
  const Times& inference() const { return inference_; }
  const Times& retry_after() const { return retry_after_; }  // seconds x 1000
  std::vector<const OutcomeSummary*> outcomes() const;       // most frequent first
  const std::vector<Window>& windows() const { return windows_; }

 private:
  double slo_ms_;
  int64_t requests_ = 0, ok_pairs_ = 0, good_ = 0, good_pairs_ = 0;
  Times latency_, timing_error_, queue_, tokenize_, inference_, retry_after_;
  std::map<std::pair<Outcome, int>, OutcomeSummary> outcomes_;
  std::vector<Window> windows_;
};

}  // namespace rerankd::load
