#include "serving/dashboard_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "serving/dashboard_page.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

class DashboardFeedTest : public testing::Test {
 protected:
  DashboardFeedTest() : service_(Settings{}, engine_, clock_) {}
  ~DashboardFeedTest() override { service_.Drain(); }

  // The data of the event `name` in `text`.
  static json Data(const std::string& text, const std::string& name) {
    const std::string start = "event: " + name + "\ndata: ";
    const size_t at = text.find(start);
    if (at == std::string::npos) return nullptr;
    const size_t end = text.find('\n', at + start.size());
    EXPECT_EQ(text.substr(end, 2), "\n\n");
    return json::parse(text.substr(at + start.size(), end - at - start.size()));
  }
  void Score(const std::vector<std::string>& documents) {
    std::atomic<bool> done{false};
    ASSERT_TRUE(service_
                    .Submit("/rerank", clock_.Now(), ScoreRequest::ForQuery("q", documents),
                            [&](const Result<Answer>&) { done = true; })
                    .ok());
    while (!done) std::this_thread::yield();
  }

  FakeEngine engine_;
  VirtualClock clock_;
  ScoreService service_;
  const std::shared_ptr<DashboardFeed> feed_ = std::make_shared<DashboardFeed>(service_, clock_);
};

TEST_F(DashboardFeedTest, HistoryComesOnceThenSnapshots) {
  const auto page = feed_->Subscribe();
  const std::string first = page->Next();
  EXPECT_THAT(first, StartsWith("event: history\n"));
  EXPECT_TRUE(Data(first, "history").contains("latencies"));
  const json snapshot = Data(first, "snapshot");
  EXPECT_EQ(snapshot["query_count"], 0);
  EXPECT_EQ(snapshot["server"]["model"], "fake-model");
  EXPECT_EQ(snapshot["server"]["instances"][0]["name"], "fake-0");
  EXPECT_EQ(snapshot["server"]["instances"][0]["model"], "fake-model");
  EXPECT_EQ(snapshot["rerankd"]["rejected"], 0);
  EXPECT_FALSE(snapshot.contains("history"));
  EXPECT_THAT(page->Next(), StartsWith("event: snapshot\n"));
}

TEST_F(DashboardFeedTest, OneSnapshotAPeriodHoweverManyPages) {
  const auto one = feed_->Subscribe(), two = feed_->Subscribe();
  one->Next();
  Score({"a", "b"});
  EXPECT_EQ(Data(two->Next(), "snapshot")["query_count"], 0);
  clock_.Advance(DashboardFeed::kPeriod);
  EXPECT_EQ(Data(two->Next(), "snapshot")["query_count"], 2);
  EXPECT_EQ(Data(one->Next(), "snapshot")["query_count"], 2);
}

TEST_F(DashboardFeedTest, PagesAreBoundedAndGiveTheirPlaceBack) {
  std::vector<std::shared_ptr<DashboardFeed::Subscription>> pages;
  for (int i = 0; i < DashboardFeed::kMaxSubscribers; ++i) pages.push_back(feed_->Subscribe());
  EXPECT_NE(pages.back(), nullptr);
  EXPECT_EQ(feed_->Subscribe(), nullptr);
  EXPECT_EQ(feed_->subscribers(), DashboardFeed::kMaxSubscribers);
  pages.pop_back();
  EXPECT_NE(feed_->Subscribe(), nullptr);
  pages.clear();
  EXPECT_EQ(feed_->subscribers(), 0);
}

TEST(DashboardPageTest, IsEmbeddedPlainAndPacked) {
  EXPECT_THAT(std::string(kDashboardPage.html.substr(0, 15)), "<!doctype html>");
  EXPECT_EQ(kDashboardPage.gzip.substr(0, 2), "\x1f\x8b");
  EXPECT_LT(kDashboardPage.gzip.size(), 150u << 10);
  EXPECT_THAT(std::string(kDashboardPage.policy), HasSubstr("default-src 'none'"));
}

}  // namespace
}  // namespace rerankd::serving
