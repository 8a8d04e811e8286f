#include "backends/fake/fake_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace rerankd {
namespace {

using testing::HasSubstr;

EncodedPairs TwoPairs() {
  EncodedPairs pairs;
  pairs.PushTokens(std::vector<int32_t>{101, 7, 102}, 0);
  pairs.ClosePair(3);
  pairs.PushTokens(std::vector<int32_t>{101, 7, 102, 8, 102}, 0);
  pairs.ClosePair(5);
  return pairs;
}

Batch BatchOf(const EncodedPairs& pairs) {
  Batch batch;
  for (int i = 0; i < pairs.size(); ++i) batch.Add(pairs[i]);
  return batch;
}

// The documented formula, computed by an independent script.
TEST(FakeLogit, FollowsTheDocumentedHash) {
  EXPECT_FLOAT_EQ(FakeLogit(std::vector<int32_t>{101, 7, 102}, 0), 9.194F);
  EXPECT_FLOAT_EQ(FakeLogit(std::vector<int32_t>{101, 7, 102}, 1), 0.773F);
}

TEST(FakeBackend, ScoresEveryLabelOfEveryPairAndCountsPadding) {
  for (const bool padded : {false, true}) {
    FakeOptions options;
    options.num_labels = 2;
    options.padded = padded;
    FakeBackend backend(options);
    const EncodedPairs pairs = TwoPairs();
    std::vector<float> logits(4);
    BatchStats stats;
    ASSERT_TRUE(backend.Score(BatchOf(pairs), CancelFlag(), logits, &stats).ok());
    EXPECT_EQ(stats.padded_tokens, padded ? 10 : 8);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(logits[static_cast<size_t>(i)], FakeLogit(pairs[i / 2].ids, i % 2)) << i;
  }
}

TEST(FakeBackend, FailsAndDiesOnSchedule) {
  FakeOptions options;
  options.fail_every = 2;
  options.lost_after = 3;
  FakeBackend backend(options);
  const EncodedPairs pairs = TwoPairs();
  std::vector<float> logits(2);
  BatchStats stats;
  const auto code = [&] { return backend.Score(BatchOf(pairs), CancelFlag(), logits, &stats).code(); };
  EXPECT_EQ(code(), Code::kOk);
  EXPECT_EQ(code(), Code::kInternal);
  EXPECT_EQ(code(), Code::kOk);
  EXPECT_TRUE(backend.health().ok());
  EXPECT_EQ(code(), Code::kUnavailable);
  EXPECT_EQ(backend.health().code(), Code::kUnavailable);
}

TEST(FakeBackend, GivesNanOnSchedule) {
  FakeOptions options;
  options.nan_every = 2;
  FakeBackend backend(options);
  const EncodedPairs pairs = TwoPairs();
  std::vector<float> logits(2);
  ASSERT_TRUE(backend.Score(BatchOf(pairs), CancelFlag(), logits, nullptr).ok());
  EXPECT_FALSE(std::isnan(logits[0]));
  ASSERT_TRUE(backend.Score(BatchOf(pairs), CancelFlag(), logits, nullptr).ok());
  EXPECT_TRUE(std::isnan(logits[0]));
  EXPECT_FALSE(std::isnan(logits[1]));
}

TEST(FakeBackend, TakesItsTimeAndStopsWhenCancelled) {
  FakeOptions options;
  options.ms_per_token = 2;
  FakeBackend quick(options);
  const EncodedPairs pairs = TwoPairs();
  std::vector<float> logits(2);
  BatchStats stats;
  ASSERT_TRUE(quick.Score(BatchOf(pairs), CancelFlag(), logits, &stats).ok());
  EXPECT_GE(stats.compute_ms, 16);

  options.ms_per_batch = 60'000;
  FakeBackend slow(options);
  CancelFlag cancel;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    cancel.Cancel();
  });
  EXPECT_EQ(slow.Score(BatchOf(pairs), cancel, logits, &stats).code(), Code::kCancelled);
  canceller.join();
}

TEST(ParseFakeOptions, ReadsTheDeviceStringAndNamesWhatIsWrong) {
  const auto options = ParseFakeOptions("fake:ms_per_token=0.01,fail_every=3,padded=1,num_labels=2");
  ASSERT_TRUE(options.ok());
  EXPECT_DOUBLE_EQ(options->ms_per_token, 0.01);
  EXPECT_EQ(options->fail_every, 3);
  EXPECT_TRUE(options->padded);
  EXPECT_EQ(options->num_labels, 2);
  EXPECT_TRUE(ParseFakeOptions("cpu").ok());
  EXPECT_THAT(ParseFakeOptions("cuda").status().message(), HasSubstr("'cuda'"));
  EXPECT_THAT(ParseFakeOptions("fake:fail_evry=1").status().message(),
              HasSubstr("did you mean 'fail_every'"));
  EXPECT_THAT(ParseFakeOptions("fake:padded=x").status().message(), HasSubstr("padded='x'"));
  EXPECT_THAT(ParseFakeOptions("fake:padded").status().message(), HasSubstr("padded=''"));
  EXPECT_THAT(ParseFakeOptions("fake:num_labels=0").status().message(), HasSubstr("at least 1"));
}

}  // namespace
}  // namespace rerankd
