#include "serving/dashboard_feed.h"

#include <utility>

namespace rerankd::serving {
namespace {

// A tenth less than the period: pages whose ticks drift still get a new one each time.
constexpr auto kFreshFor = DashboardFeed::kPeriod * 9 / 10;

// JSON without line breaks: one data line is enough.
std::string Event(std::string_view name, std::string_view json) {
  std::string text = "event: ";
  text.append(name).append("\ndata: ").append(json).append("\n\n");
  return text;
}

}  // namespace

std::shared_ptr<DashboardFeed::Subscription> DashboardFeed::Subscribe() {
  if (++subscribers_ > kMaxSubscribers) {
    --subscribers_;
    return nullptr;
  }
  return std::make_shared<Subscription>(shared_from_this());
}

std::string DashboardFeed::Subscription::Next() {
  std::string history;
  if (std::exchange(first_, false)) history = Event("history", feed_->service_.DashboardHistoryJson());
  return history + Event("snapshot", feed_->Snapshot());
}

std::string DashboardFeed::Snapshot() {
  std::lock_guard lock(mutex_);
  const TimePoint now = clock_.Now();
  if (snapshot_.empty() || now - made_ >= kFreshFor) {
    snapshot_ = service_.DashboardJson();
    made_ = now;
  }
  return snapshot_;
}

}  // namespace rerankd::serving
