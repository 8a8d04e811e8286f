// CPU share of this process and the sampler thread that feeds ReferenceMetrics.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace rerankd::serving {

// CPU time that this process has used (user + system, all threads).
Duration ProcessCpuTime();

// CPU time since the previous reading / wall time, in percent (100 = one core). Readings closer than 100 ms
// repeat the previous value: the quotient of two tiny numbers says nothing. Thread-safe.
class CpuMeter {
 public:
  CpuMeter(const Clock& clock, std::function<Duration()> cpu_time);
  double Read();

 private:
  const Clock& clock_;
  const std::function<Duration()> cpu_time_;
  std::mutex mutex_;
  TimePoint last_wall_;
  Duration last_cpu_;
  double percent_ = 0;
};

// Calls `tick` every `period` on a thread of its own until destroyed.
class Sampler {
 public:
  Sampler(Duration period, std::function<void()> tick);
  ~Sampler();

 private:
  void Run(Duration period, const std::function<void()>& tick);

  std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace rerankd::serving
