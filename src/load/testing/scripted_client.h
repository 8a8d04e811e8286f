// A Client on a virtual clock: each request is answered after a time that the test decides; nothing else
// takes any time.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "load/client.h"

namespace rerankd::load {

class ScriptedClient final : public Client {
 public:
  struct Answer {
    double after_ms = 0;
    Reply reply;
  };
  using Script = std::function<Answer(const Work&, TimePoint sent)>;

  ScriptedClient(VirtualClock& clock, Script script) : clock_(clock), script_(std::move(script)) {}

  void Send(const Work& work, Done done) override {
    Answer answer = script_(work, clock_.Now());
    const TimePoint when = clock_.Now() + FromMs(answer.after_ms);
    pending_.emplace(when, std::pair(std::move(answer.reply), std::move(done)));
  }

  void RunUntil(TimePoint when) override {
    while (!woken_ && !pending_.empty() && pending_.begin()->first <= when) {
      auto node = pending_.extract(pending_.begin());
      MoveTo(node.key());
      auto& [reply, done] = node.mapped();
      reply.received = clock_.Now();
      done(std::move(reply));
    }
    if (!woken_) MoveTo(when);
    woken_ = false;
  }

  void Wake() override { woken_ = true; }

 private:
  void MoveTo(TimePoint when) {
    if (when > clock_.Now()) clock_.Advance(when - clock_.Now());
  }

  VirtualClock& clock_;
  const Script script_;
  std::multimap<TimePoint, std::pair<Reply, Done>> pending_;
  bool woken_ = false;
};

// A target with `workers` that each take `service_ms` a request, first come, first served.
class FifoTarget {
 public:
  FifoTarget(int workers, double service_ms) : free_(static_cast<size_t>(workers)), service_ms_(service_ms) {}

  ScriptedClient::Answer operator()(const Work&, TimePoint sent) {
    auto worker = std::min_element(free_.begin(), free_.end());
    *worker = std::max(*worker, sent) + FromMs(service_ms_);
    return {ToMs(*worker - sent), {}};
  }

 private:
  std::vector<TimePoint> free_;
  double service_ms_;
};

}  // namespace rerankd::load
