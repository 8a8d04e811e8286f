#include "serving/score_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>

#include "serving/byte_budget.h"
#include "serving/code_points.h"
#include "serving/error_map.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using testing::HasSubstr;

TEST(ErrorMap, GivesHttpAndGrpcOfEveryCode) {
  EXPECT_EQ(HttpStatus(Code::kInvalidArgument), 422);
  EXPECT_EQ(HttpStatus(Code::kResourceExhausted), 429);
  EXPECT_EQ(HttpStatus(Code::kDeadlineExceeded), 504);
  EXPECT_EQ(HttpStatus(Code::kUnavailable), 503);
  EXPECT_EQ(HttpStatus(Code::kInternal), 424);
  EXPECT_EQ(GrpcStatus(Code::kInvalidArgument), 3);
  EXPECT_EQ(GrpcStatus(Code::kUnavailable), 14);
}

TEST(ErrorMap, RetryAfterIsRoundedUpToWholeSeconds) {
  EXPECT_EQ(RetryAfterSeconds(ResourceExhausted("full").WithRetryAfter(1200)), 2);
  EXPECT_EQ(RetryAfterSeconds(ResourceExhausted("full")), 1);
}

TEST(ErrorMap, AMessageIsCutBetweenCodePoints) {
  EXPECT_EQ(ClientMessage(NotFound("short")), "short");
  std::string tea;
  for (int i = 0; i < 500; ++i) tea += "茶";
  const std::string cut = ClientMessage(NotFound(tea));
  EXPECT_EQ(cut, tea.substr(0, 999) + " [...]");
}

TEST(ByteBudget, RefusesWhatIsTooMuchTogetherAndTakesItBack) {
  ByteBudget budget(100);
  ByteBudget::Share first(budget);
  {
    ByteBudget::Share second(budget);
    EXPECT_TRUE(first.Grow(60).ok());
    EXPECT_EQ(second.Grow(41).code(), Code::kResourceExhausted);
    EXPECT_TRUE(second.Grow(40).ok());
    second.Set(200);  // a reply
    EXPECT_FALSE(first.Grow(1).ok());
  }
  EXPECT_TRUE(first.Grow(40).ok());
  EXPECT_EQ(first.bytes(), 100);
}

TEST(CodePoints, AreCountedAndCutWhateverTheirBytes) {
  const std::string text = "aß茶😀z";
  EXPECT_EQ(CountCodePoints(text), 5);
  CodePointCutter cutter(text);
  EXPECT_EQ(cutter.Cut(1, 3), "ß茶");
  EXPECT_EQ(cutter.Cut(3, 4), "😀");
  EXPECT_EQ(cutter.Cut(0, 1), "a");  // backwards
  EXPECT_EQ(cutter.Cut(4, 99), "z");
  EXPECT_EQ(cutter.Cut(7, 9), "");
}

ScoreResult Logits(std::vector<float> logits, int num_labels) {
  ScoreResult result;
  result.logits = std::move(logits);
  result.num_labels = num_labels;
  return result;
}

TEST(RelevanceScores, ActivateByTheNumberOfLabels) {
  EXPECT_FLOAT_EQ((*RelevanceScores(Logits({0}, 1), false))[0], 0.5f);
  EXPECT_FLOAT_EQ((*RelevanceScores(Logits({8.4f}, 1), true))[0], 8.4f);
  const auto two = RelevanceScores(Logits({1, 3, 5, 5}, 2), false);
  ASSERT_EQ(two->size(), 2u);
  EXPECT_FLOAT_EQ((*two)[0], 0.8807971f);  // e^3 / (e^1 + e^3)
  EXPECT_FLOAT_EQ((*two)[1], 0.5f);
  EXPECT_EQ(RelevanceScores(Logits({1, 2, 3}, 3), false).status().code(), Code::kFailedPrecondition);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(RelevanceScores(Logits({nan}, 1), false).status().message(), "score is NaN");
}

class ScoreServiceTest : public testing::Test {
 protected:
  // Submits and waits for the outcome.
  Result<Answer> Score(std::vector<std::string> documents) {
    std::promise<Result<Answer>> promise;
    auto future = promise.get_future();
    const Status status =
        service_.Submit("test", service_.Now(), ScoreRequest::ForQuery("q", std::move(documents)),
                        [&](Result<Answer> answer) { promise.set_value(std::move(answer)); });
    if (!status.ok()) return status;
    return future.get();
  }

  static Settings SmallLimit() {
    Settings settings;
    settings.server.max_documents = 3;
    return settings;
  }

  FakeEngine engine_;
  ScoreService service_{SmallLimit(), engine_, SteadyClock::Get()};
};

TEST_F(ScoreServiceTest, RecordsAnsweredRequests) {
  ASSERT_TRUE(Score({"abc", "abcdefg"}).ok());
  const MetricsSnapshot s = service_.Snapshot();
  EXPECT_EQ(s.count, 1);
  EXPECT_EQ(s.query_count, 2);
  EXPECT_EQ(s.real_tokens, 16);
  EXPECT_DOUBLE_EQ(s.avg_padding_pct, 20);  // 16 of 2 x 10
  const std::string text = service_.PrometheusText();
  EXPECT_THAT(text, HasSubstr("rerankd_requests_total{model=\"fake-model\",route=\"test\"} 1"));
  EXPECT_THAT(text, HasSubstr("rerankd_tokens_per_pair_sum{model=\"fake-model\",route=\"test\"} 16"));
  EXPECT_THAT(text, HasSubstr("rerankd_tokens_per_pair_count{model=\"fake-model\",route=\"test\"} 2"));
}

TEST_F(ScoreServiceTest, RefusesTooManyDocumentsNamingTheBound) {
  const Status status = Score({"a", "b", "c", "d"}).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("4 documents in one request, at most 3"));
  EXPECT_EQ(engine_.admitted(), 0);
}

TEST_F(ScoreServiceTest, CountsFailuresByCodeAndNotAsAnswers) {
  engine_.FailWith(Internal("broken"));
  EXPECT_EQ(Score({"a"}).status().message(), "broken");
  engine_.RefuseWith(ResourceExhausted("full").WithRetryAfter(500));
  EXPECT_EQ(Score({"a"}).status().retry_after_ms(), 500);
  EXPECT_EQ(service_.Snapshot().count, 0);
  const std::string text = service_.PrometheusText();
  EXPECT_THAT(text,
              HasSubstr("rerankd_errors_total{code=\"INTERNAL\",model=\"fake-model\",route=\"test\"} 1"));
  EXPECT_THAT(text, HasSubstr("code=\"RESOURCE_EXHAUSTED\""));
  EXPECT_THAT(text, HasSubstr("rerankd_in_flight_requests{model=\"fake-model\"} 0"));
}

TEST_F(ScoreServiceTest, DrainAnswersWhatWasAdmittedAndRefusesTheRest) {
  engine_.Hold();
  std::promise<Result<Answer>> promise;
  ASSERT_TRUE(service_
                  .Submit("test", service_.Now(), ScoreRequest::ForQuery("q", {"a"}),
                          [&](Result<Answer> answer) { promise.set_value(std::move(answer)); })
                  .ok());
  service_.Drain();
  EXPECT_TRUE(service_.draining());
  EXPECT_TRUE(promise.get_future().get().ok());
  EXPECT_EQ(Score({"a"}).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace rerankd::serving
