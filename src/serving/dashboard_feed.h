// What the dashboard's event stream sends: one JSON snapshot of the server, made at most every half second
// however many pages are open, and not at all while none is. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "serving/score_service.h"

namespace rerankd::serving {

class DashboardFeed : public std::enable_shared_from_this<DashboardFeed> {
 public:
  static constexpr Duration kPeriod = std::chrono::milliseconds(500);
  static constexpr int kMaxSubscribers = 64;

  // `service` and `clock` outlive this.
  DashboardFeed(ScoreService& service, const Clock& clock) : service_(service), clock_(clock) {}

  // One open page. Gives its place back when destroyed.
  class Subscription {
   public:
    explicit Subscription(std::shared_ptr<DashboardFeed> feed) : feed_(std::move(feed)) {}
    ~Subscription() { --feed_->subscribers_; }
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    // The next event, "snapshot"; before the first one "history", the points that the server has kept.
    std::string Next();

   private:
    const std::shared_ptr<DashboardFeed> feed_;
    bool first_ = true;
  };

  // Null when kMaxSubscribers pages are open.
  std::shared_ptr<Subscription> Subscribe();
  int subscribers() const { return subscribers_.load(); }

 private:
  std::string Snapshot();

  ScoreService& service_;
  const Clock& clock_;
  std::atomic<int> subscribers_{0};
  std::mutex mutex_;  // guards what follows
  std::string snapshot_;
  TimePoint made_;
};

}  // namespace rerankd::serving
