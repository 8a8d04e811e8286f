#include "load/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "load/process_usage.h"

namespace rerankd::load {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
// Of an open loop: samples are handed over so many at a time, which finds the code and data of summaries and
// logs in the caches. Between requests far apart they never are.
constexpr size_t kHandedOver = 32;
// A target that is gone refuses connections faster than any could be useful.
constexpr int kLostAfter = 100;
constexpr int kLostAtEnd = 10;  // as the last of a load: it did not measure a target to its end

// Sent, not answered.
struct Request {
  Work work;
  TimePoint intended, sent;
};

class Loop {
 public:
  Loop(const LoadPlan& plan, Arrivals& arrivals, Client& client, const LoadHooks& hooks)
      : plan_(plan), arrivals_(arrivals), client_(client), hooks_(hooks), clock_(*hooks.clock) {}

  LoadStats Run(const std::atomic<bool>& interrupt) {
    const CpuSeconds cpu_before = ProcessCpuSeconds();
    start_ = first_sent_ = last_reply_ = latest_ = clock_.Now();
    if (plan_.stop_after_s) end_ = start_ + FromMs(*plan_.stop_after_s * 1000);
    tick_ = start_ + kTick;
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
      if (const TimePoint now = clock_.Now(); now >= tick_) Tick(now);
    }
    HandOver();
    if (lost_in_a_row_ >= kLostAtEnd) TellLost();
    stats_.seconds = ToSeconds(last_reply_ - first_sent_);
    const CpuSeconds cpu = ProcessCpuSeconds();
    stats_.client_cpu_s = cpu.total() - cpu_before.total();
    stats_.client_system_s = cpu.system - cpu_before.system;
    return stats_;
  }

 private:
  bool Finished() const { return (stopped_ || !next_) && in_flight_ == 0; }

  TimePoint NextWake() const {
    const bool waits_for_time = plan_.open && next_ && !stopped_ && in_flight_ < plan_.in_flight;
    return waits_for_time ? std::min(tick_, start_ + next_->at) : tick_;
  }

  void Tick(TimePoint now) {
    HandOver();
    hooks_.progress(done_, ToSeconds(now - start_));
    tick_ = now + kTick;
  }

  void HandOver() {
    for (const Sample& sample : samples_) hooks_.sink(sample);
    samples_.clear();
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
    if (stats_.sent == 0) first_sent_ = now;
    ++stats_.sent;
    stats_.held += next_held_ ? 1 : 0;
    next_held_ = false;
    stats_.peak_in_flight = std::max(stats_.peak_in_flight, ++in_flight_);
    const size_t place = FreePlace();
    const Work work = next_->work;
    unanswered_[place] = {work, plan_.open ? start_ + next_->at : now, now};
    client_.Send(work, [this, place](Reply reply) { Done(place, std::move(reply)); });
    next_ = arrivals_.Next();
  }

  size_t FreePlace() {
    if (free_.empty()) {
      unanswered_.emplace_back();
      return unanswered_.size() - 1;
    }
    const size_t place = free_.back();
    free_.pop_back();
    return place;
  }

  void Done(size_t place, Reply reply) {
    const std::lock_guard lock(mutex_);
    const Request request = unanswered_[place];
    free_.push_back(place);
    const bool full = plan_.open && in_flight_ == plan_.in_flight;
    if (full && next_ && clock_.Now() >= start_ + next_->at) next_held_ = true;
    --in_flight_;
    ++done_;
    reply.received = NotBefore(request.sent, reply.received);
    last_reply_ = std::max(last_reply_, reply.received);
    CountFailure(reply);
    const double latency_ms = ToMs(reply.received - request.intended);
    samples_.push_back({request.work, ToMs(request.intended - start_), ToMs(request.sent - start_),
                        latency_ms, std::move(reply)});
    if (!plan_.open || samples_.size() >= kHandedOver) HandOver();
    Pump();
    // Full: only now the next one waits for its time, not for a reply.
    if (Finished() || full) client_.Wake();
  }

  TimePoint NotBefore(TimePoint earlier, TimePoint reading) {
    if (reading >= earlier) return reading;
    ++stats_.clock_went_back;
    return earlier;
  }

  void CountFailure(const Reply& reply) {
    lost_in_a_row_ = reply.outcome == Outcome::kUnreachable ? lost_in_a_row_ + 1 : 0;
    if (reply.outcome != Outcome::kOk && plan_.stop_on_failure) stopped_ = true;
    if (lost_in_a_row_ > 0) lost_detail_ = reply.detail;
    if (lost_in_a_row_ >= kLostAfter) stopped_ = true;
  }

  void TellLost() {
    stats_.lost = fmt::format("the last {} requests found no target: {}", lost_in_a_row_, lost_detail_);
  }

  const LoadPlan& plan_;
  Arrivals& arrivals_;
  Client& client_;
  const LoadHooks& hooks_;
  const Clock& clock_;

  std::mutex mutex_;  // guards the rest: replies may come on the client's thread
  TimePoint start_, first_sent_, last_reply_, latest_, tick_, end_ = TimePoint::max();
  std::vector<Request> unanswered_;  // in places that are used again
  std::vector<size_t> free_;
  std::vector<Sample> samples_;  // not handed over yet
  std::optional<Arrival> next_;
  bool next_held_ = false, stopped_ = false;
  int in_flight_ = 0, lost_in_a_row_ = 0;
  int64_t done_ = 0;
  std::string lost_detail_;
  LoadStats stats_;
};

}  // namespace

LoadStats RunLoad(const LoadPlan& plan, Arrivals& arrivals, Client& client,
                  const std::atomic<bool>& interrupt, const LoadHooks& hooks) {
  return Loop(plan, arrivals, client, hooks).Run(interrupt);
}

}  // namespace rerankd::load
