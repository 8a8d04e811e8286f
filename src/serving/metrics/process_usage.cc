#include "serving/metrics/process_usage.h"

#include <time.h>

#include <utility>

#include "base/cpu.h"

namespace rerankd::serving {

Duration ProcessCpuTime() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

CpuMeter::CpuMeter(const Clock& clock, std::function<Duration()> cpu_time)
    : clock_(clock), cpu_time_(std::move(cpu_time)), last_wall_(clock.Now()), last_cpu_(cpu_time_()) {}

double CpuMeter::Read() {
  std::lock_guard lock(mutex_);
  const TimePoint now = clock_.Now();
  if (now - last_wall_ < std::chrono::milliseconds(100)) return percent_;
  const Duration cpu = cpu_time_();
  percent_ = ToMs(cpu - last_cpu_) / ToMs(now - last_wall_) * 100;
  last_wall_ = now;
  last_cpu_ = cpu;
  return percent_;
}

Sampler::Sampler(Duration period, std::function<void()> tick)
    : thread_([this, period, tick = std::move(tick)] { Run(period, tick); }) {}

Sampler::~Sampler() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  thread_.join();
}

void Sampler::Run(Duration period, const std::function<void()>& tick) {
  SetThreadName("sampler");
  auto next = std::chrono::steady_clock::now() + period;
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_until(lock, next, [this] { return stop_; })) {
    lock.unlock();
    tick();
    lock.lock();
    next += period;
  }
}

}  // namespace rerankd::serving
