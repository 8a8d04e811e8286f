#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/backend.h"
#include "core/encoding.h"
#include "core/request.h"
#include "core/scoring.h"

namespace rerankd {
namespace {

using testing::ElementsAre;

TEST(EncodedPairs, StoresRaggedPairsAndTheirTruncation) {
  EncodedPairs pairs;
  pairs.PushToken(101, 0);
  pairs.PushTokens(std::vector<int32_t>{7, 8}, 1);
  pairs.ClosePair(3);
  pairs.PushTokens(std::vector<int32_t>{9}, 0);
  pairs.ClosePair(5);
  ASSERT_EQ(pairs.size(), 2);
  EXPECT_EQ(pairs.tokens(), 4);
  EXPECT_THAT(pairs[0].ids, ElementsAre(101, 7, 8));
  EXPECT_THAT(pairs[0].type_ids, ElementsAre(0, 1, 1));
  EXPECT_THAT(pairs[1].ids, ElementsAre(9));
  EXPECT_FALSE(pairs.truncated(0));
  EXPECT_TRUE(pairs.truncated(1));

  Batch batch;
  batch.Add(pairs[1]);
  batch.Add(pairs[0]);
  EXPECT_EQ(batch.tokens(), 4);
  EXPECT_EQ(batch.longest(), 3);
  EXPECT_EQ(batch.padded_tokens(), 6);
}

TEST(ScoreRequest, StoresRepeatedQueriesOnce) {
  const auto request = ScoreRequest::ForPairs({{"q", "a"}, {"q", "b"}, {"r", "c"}, {"q", "d"}});
  EXPECT_THAT(request.queries, ElementsAre("q", "r", "q"));
  EXPECT_EQ(request.documents[1].query, 0u);
  EXPECT_EQ(request.documents[2].query, 1u);
  EXPECT_EQ(request.documents[3].query, 2u);
}

TEST(ScoreRequest, OneQueryForAllIsStoredOnce) {
  const auto one = ScoreRequest::ForQueries({"q"}, {"a", "b", "c"});
  EXPECT_EQ(one.queries.size(), 1u);
  EXPECT_EQ(one.documents[2].query, 0u);
  const auto each = ScoreRequest::ForQueries({"q", "q", "r"}, {"a", "b", "c"});
  EXPECT_EQ(each.queries.size(), 2u);
  EXPECT_EQ(each.documents[2].query, 1u);
}

TEST(Scoring, SigmoidAndSoftmaxSurviveExtremes) {
  EXPECT_FLOAT_EQ(Sigmoid(0), 0.5f);
  EXPECT_FLOAT_EQ(Sigmoid(1000), 1);
  EXPECT_FLOAT_EQ(Sigmoid(-1000), 0);
  std::vector<float> row = {1000, -1000, 1000};
  Activate(Activation::kSoftmax, 3, row);
  EXPECT_THAT(row, ElementsAre(0.5f, 0.0f, 0.5f));
}

TEST(Scoring, TiesKeepInputOrderAndNanSortsLast) {
  const std::vector<float> scores = {1, 3, std::nanf(""), 3, 2};
  EXPECT_THAT(RankDescending(scores, 0), ElementsAre(1, 3, 4, 0, 2));
  EXPECT_THAT(RankDescending(scores, 2), ElementsAre(1, 3));
}

TEST(Scoring, NamesRoundTrip) {
  for (const char* name : {"raw", "sigmoid", "softmax"})
    EXPECT_EQ(ActivationName(*ParseActivation(name)), name);
  EXPECT_FALSE(ParseActivation("tanh").ok());
}

}  // namespace
}  // namespace rerankd
