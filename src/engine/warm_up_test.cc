#include "engine/warm_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rerankd {
namespace {

using testing::ElementsAre;

TEST(WarmUp, CoversLengthsUpToTheLongestInFewRuns) {
  EXPECT_THAT(WarmUpLengths(512), ElementsAre(512, 128, 32));
  EXPECT_THAT(WarmUpLengths(8192), ElementsAre(8192, 2048, 512, 128, 32));
  EXPECT_THAT(WarmUpLengths(128), ElementsAre(128, 32));
  EXPECT_THAT(WarmUpLengths(40), ElementsAre(40));
  EXPECT_THAT(WarmUpLengths(1), ElementsAre(1));
}

class Recorder final : public Backend {
 public:
  Recorder(std::vector<int>* lengths, Status status) : lengths_(lengths), status_(std::move(status)) {}
  const BackendCaps& caps() const override { return caps_; }
  Status Warmup(std::span<const int> lengths) override {
    lengths_->assign(lengths.begin(), lengths.end());
    return status_;
  }
  Status Score(const Batch&, const CancelFlag&, std::span<float>, BatchStats*) override { return {}; }
  BackendUsage usage() const override { return {}; }

 private:
  BackendCaps caps_;
  std::vector<int>* lengths_;
  Status status_;
};

TEST(WarmUp, ReachesEveryBackendAndReportsTheOneThatFails) {
  std::vector<int> first, second;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<Recorder>(&first, Status()));
  EXPECT_TRUE(WarmUp(backends, 512).ok());
  backends.push_back(std::make_unique<Recorder>(&second, Internal("no kernel")));
  EXPECT_EQ(WarmUp(backends, 512).ToString(), "INTERNAL: warm-up: no kernel");
  EXPECT_THAT(first, ElementsAre(512, 128, 32));
  EXPECT_EQ(second, first);
}

}  // namespace
}  // namespace rerankd
