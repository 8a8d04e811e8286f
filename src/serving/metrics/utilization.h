// Busy share of each instance over the last seconds. Thread-safe.
#pragma once

#include <deque>
#include <map>
#include <mutex>

#include "base/clock.h"
#include "core/stats.h"

namespace rerankd::serving {

class UtilizationMeter {
 public:
  // A reading of the workers' totals; about every 500 ms.
  void Sample(TimePoint now, const std::vector<WorkerStats>& workers);
  // Instance -> 0..1: busy time / wall time of its workers between the oldest reading and the latest. Empty
  // before the second reading.
  std::map<int, double> Read() const;

 private:
  static constexpr size_t kKept = 21;  // 10 s

  struct Totals {
    double busy_ms = 0;
    int workers = 0;
  };
  struct Reading {
    TimePoint at;
    std::map<int, Totals> instances;
  };

  mutable std::mutex mutex_;
  std::deque<Reading> readings_;
};

}  // namespace rerankd::serving
