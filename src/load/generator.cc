#include "load/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include "load/process_usage.h"

namespace rerankd::load {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
// A target that is gone refuses connections faster than any could be useful.
constexpr int kLostAfter = 100;

class Loop {
 public:
  Loop(const LoadPlan& plan, Arrivals& arrivals, Client& client, const LoadHooks& hooks)
      : plan_(plan), arrivals_(arrivals), client_(client), hooks_(hooks), clock_(*hooks.clock) {}

  LoadStats Run(const std::atomic<bool>& interrupt) {
    const CpuSeconds cpu_before = ProcessCpuSeconds();
    start_ = first_sent_ = last_reply_ = latest_ = clock_.Now();
    if (plan_.stop_after_s) end_ = start_ + FromMs(*plan_.stop_after_s * 1000);
    std::unique_lock lock(mutex_);
    next_ = arrivals_.Next();
    while (true) {
      Pump();
      if (Finished()) break;
      const TimePoint wake = NextWake();
      lock.unlock();
      client_.RunUntil(wake);
      lock.lock();
      if (interrupt.load()) stopped_ = true;
      hooks_.progress(done_, ToSeconds(clock_.Now() - start_));
    }
    stats_.seconds = ToSeconds(last_reply_ - first_sent_);
    const CpuSeconds cpu = ProcessCpuSeconds();
    stats_.client_cpu_s = cpu.total() - cpu_before.total();
    stats_.client_system_s = cpu.system - cpu_before.system;
    return stats_;
  }

 private:
  bool Finished() const { return (stopped_ || !next_) && in_flight_ == 0; }

  TimePoint NextWake() const {
    TimePoint wake = clock_.Now() + kTick;
    const bool waits_for_time = plan_.open && next_ && !stopped_ && in_flight_ < plan_.in_flight;
    if (waits_for_time) wake = std::min(wake, start_ + next_->at);
    return wake;
  }

  // Sends all that may be sent now.
  void Pump() {
    while (next_ && !stopped_) {
      const TimePoint now = NotBefore(latest_, clock_.Now());
      latest_ = now;
      if (now >= end_) {
        stopped_ = stats_.cut = true;
        return;
      }
      if (plan_.open && now < start_ + next_->at) return;
      if (in_flight_ >= plan_.in_flight) return;
      SendNext(now);
    }
  }

  void SendNext(TimePoint now) {
    const TimePoint intended = plan_.open ? start_ + next_->at : now;
    const Work work = next_->work;
    if (stats_.sent == 0) first_sent_ = now;
    ++stats_.sent;
    stats_.held += next_held_ ? 1 : 0;
    next_held_ = false;
    stats_.peak_in_flight = std::max(stats_.peak_in_flight, ++in_flight_);
    client_.Send(work,
                 [this, work, intended, now](Reply reply) { Done(work, intended, now, std::move(reply)); });
    next_ = arrivals_.Next();
  }

  void Done(const Work& work, TimePoint intended, TimePoint sent, Reply reply) {
    const std::lock_guard lock(mutex_);
    const bool full = plan_.open && in_flight_ == plan_.in_flight;
    if (full && next_ && clock_.Now() >= start_ + next_->at) next_held_ = true;
    --in_flight_;
    ++done_;
    reply.received = NotBefore(sent, reply.received);
    last_reply_ = std::max(last_reply_, reply.received);
    CountFailure(reply);
    Sample sample{work, ToMs(intended - start_), ToMs(sent - start_), ToMs(reply.received - intended),
                  std::move(reply)};
    hooks_.sink(sample);
    Pump();
    if (Finished() || full)
      client_.Wake();  // full: only now the next one waits for its time, not for a reply
  }

  TimePoint NotBefore(TimePoint earlier, TimePoint reading) {
    if (reading >= earlier) return reading;
    ++stats_.clock_went_back;
    return earlier;
  }

  void CountFailure(const Reply& reply) {
    lost_in_a_row_ = reply.outcome == Outcome::kUnreachable ? lost_in_a_row_ + 1 : 0;
    if (reply.outcome != Outcome::kOk && plan_.stop_on_failure) stopped_ = true;
    if (lost_in_a_row_ < kLostAfter || stopped_) return;
    stopped_ = true;
    stats_.lost = fmt::format("{} requests in a row found no target: {}", lost_in_a_row_, reply.detail);
  }

  const LoadPlan& plan_;
  Arrivals& arrivals_;
  Client& client_;
  const LoadHooks& hooks_;
  const Clock& clock_;

  std::mutex mutex_;  // guards the rest: replies may come on the client's thread
  TimePoint start_, first_sent_, last_reply_, latest_, end_ = TimePoint::max();
  std::optional<Arrival> next_;
  bool next_held_ = false, stopped_ = false;
  int in_flight_ = 0, lost_in_a_row_ = 0;
  int64_t done_ = 0;
  LoadStats stats_;
};

}  // namespace

LoadStats RunLoad(const LoadPlan& plan, Arrivals& arrivals, Client& client,
                  const std::atomic<bool>& interrupt, const LoadHooks& hooks) {
  return Loop(plan, arrivals, client, hooks).Run(interrupt);
}

}  // namespace rerankd::load
