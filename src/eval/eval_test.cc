#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "eval/agreement.h"
#include "eval/metrics.h"
#include "eval/trec.h"

namespace rerankd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class EvalTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = testing::TempDir() + "rerankd_eval_" + std::to_string(::getpid()) + "_" + name;
    std::ofstream(path) << content;
    paths_.push_back(path);
    return path;
  }
  ~EvalTest() override {
    for (const auto& path : paths_) ::unlink(path.c_str());
  }

 private:
  std::vector<std::string> paths_;
};

std::vector<std::string> Ids(const QueryRun& run) {
  std::vector<std::string> ids;
  for (const auto& doc : run.docs) ids.push_back(doc.id);
  return ids;
}

TEST_F(EvalTest, RunKeepsQueryOrderAndBreaksTiesByIdDescending) {
  const auto run =
      ReadRun(Write("run", "q2 Q0 a 1 0.5 t\nq2 Q0 b 2 0.5 t\nq1 Q0 x 1 1e-3 t\nq2 Q0 c 3 2 t\n"));
  ASSERT_TRUE(run.ok()) << run.status().ToString();
  ASSERT_EQ(run->size(), 2u);
  EXPECT_EQ((*run)[0].query_id, "q2");
  EXPECT_THAT(Ids((*run)[0]), ElementsAre("c", "b", "a"));
  EXPECT_EQ(FormatRun((*run)[1], "tag"), "q1 Q0 x 1 0.001 tag\n");
}

TEST_F(EvalTest, BadLinesAreNamed) {
  EXPECT_THAT(ReadRun(Write("a", "q Q0 d 1 0.5 t\nq Q0 d 2\n")).status().message(), HasSubstr(":2:"));
  EXPECT_THAT(ReadRun(Write("b", "q Q0 d 1 abc t\n")).status().message(), HasSubstr(":1:"));
  EXPECT_THAT(ReadRun(Write("c", "q Q0 d 1 1 t\nq Q0 d 2 2 t\n")).status().message(), HasSubstr("twice"));
  EXPECT_THAT(ReadRun(Write("nan", "q Q0 d 1 1 t\nq Q0 e 2 nan t\n")).status().message(), HasSubstr(":2:"));
  EXPECT_THAT(ReadQrels(Write("first", "q 0 d one\nq 0 d 1\n")).status().message(), HasSubstr(":1:"));
  EXPECT_THAT(ReadQrels(Write("d", "q 0 d 1\nq 0 d x\n")).status().message(), HasSubstr(":2:"));
  EXPECT_THAT(ReadTexts(Write("e", "{\"_id\": 5, \"text\": \"x\"}\n"), nullptr).status().message(),
              HasSubstr(":1:"));
}

TEST_F(EvalTest, QrelsOfBothShapes) {
  const auto beir = ReadQrels(Write("beir", "query-id\tcorpus-id\tscore\nq\td\t2\n"));
  const auto trec = ReadQrels(Write("trec", "q 0 d 2\n"));
  ASSERT_TRUE(beir.ok() && trec.ok());
  EXPECT_EQ(beir->at("q").at("d"), 2);
  EXPECT_EQ(*beir, *trec);
}

TEST_F(EvalTest, TitlesArePrepended) {
  const auto texts = ReadTexts(
      Write(
          "corpus",
          "{\"_id\":\"1\",\"title\":\"T\",\"text\":\"x\"}\n{\"_id\":\"2\",\"title\":\"\",\"text\":\"y\"}\n"),
      nullptr);
  ASSERT_TRUE(texts.ok());
  EXPECT_EQ(texts->at("1"), "T x");
  EXPECT_EQ(texts->at("2"), "y");
}

TEST(Metrics, MatchHandComputation) {
  const std::unordered_map<std::string, int> grades = {{"a", 3}, {"b", 2}, {"c", 1}, {"d", 0}, {"e", 2}};
  const std::vector<ScoredDoc> docs = {{"d", 9}, {"a", 8}, {"x", 7}, {"b", 6}};
  const auto value = [&](const char* name) {
    return EvaluateQuery((*ParseMetrics(name))[0], docs, grades, 2);
  };
  const double dcg = 3 / std::log2(3.0) + 2 / std::log2(5.0);
  const double ideal = 3 + 2 / std::log2(3.0) + 2 / 2.0 + 1 / std::log2(5.0);
  EXPECT_NEAR(value("ndcg@10"), dcg / ideal, 1e-12);
  EXPECT_NEAR(value("ndcg@2"), (3 / std::log2(3.0)) / (3 + 2 / std::log2(3.0)), 1e-12);
  EXPECT_DOUBLE_EQ(value("mrr@10"), 0.5);
  EXPECT_DOUBLE_EQ(value("mrr@1"), 0);
  EXPECT_NEAR(value("map"), (0.5 + 0.5) / 3, 1e-12);
  EXPECT_NEAR(value("recall@100"), 2.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(value("p@4"), 0.5);
}

TEST(Metrics, JudgedQueryWithoutRunCountsZero) {
  const TrecRun run = {{"q1", {{"a", 1}}}};
  const Qrels qrels = {{"q1", {{"a", 1}}}, {"q2", {{"b", 1}}}};
  const auto scores = Evaluate((*ParseMetrics("ndcg@10"))[0], run, qrels, 1);
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_DOUBLE_EQ(Mean(scores), 0.5);
}

TEST(Metrics, UnknownNamesAreRefused) {
  for (const char* name : {"ndgc@10", "ndcg@", "ndcg@-1", "p", "mrr@x", ""})
    EXPECT_FALSE(ParseMetrics(name).ok()) << name;
  const auto metrics = ParseMetrics("ndcg@10,map,recall@100");
  ASSERT_TRUE(metrics.ok());
  EXPECT_EQ((*metrics)[2].name(), "recall@100");
}

// Expected values worked out by hand: 7.25 / 9.5 and 6 / 9.
TEST(Agreement, CorrelationsWithTies) {
  const std::vector<double> a = {1, 2, 2, 3, 5}, b = {2, 1, 3, 3, 9};
  EXPECT_NEAR(Spearman(a, b), 7.25 / 9.5, 1e-12);
  EXPECT_NEAR(KendallTauB(a, b), 6.0 / 9, 1e-12);
  const std::vector<double> reversed = {5, 4, 3, 2, 1}, up = {1, 2, 3, 4, 5};
  EXPECT_NEAR(Spearman(up, reversed), -1, 1e-12);
  EXPECT_NEAR(KendallTauB(up, reversed), -1, 1e-12);
}

TEST(Agreement, IdenticalRunsAgreeFully) {
  const TrecRun run = {{"q", {{"a", 3}, {"b", 2}, {"c", 1}}}};
  const TrecRun other = {{"q", {{"c", 3}, {"b", 2}, {"a", 1}}}};
  const Agreement same = Compare(run, run, 2);
  EXPECT_DOUBLE_EQ(same.spearman, 1);
  EXPECT_DOUBLE_EQ(same.top_overlap, 1);
  const Agreement reversed = Compare(run, other, 2);
  EXPECT_DOUBLE_EQ(reversed.kendall_tau, -1);
  EXPECT_DOUBLE_EQ(reversed.top_overlap, 0.5);
}

TEST(Agreement, BootstrapCoversTheMeanAndIsReproducible) {
  std::vector<double> a, b;
  for (int i = 0; i < 50; ++i) {
    a.push_back(0.5 + 0.01 * (i % 7));
    b.push_back(0.45 + 0.01 * (i % 5));
  }
  const Interval first = PairedBootstrap(a, b, 2000, 1), again = PairedBootstrap(a, b, 2000, 1);
  EXPECT_LT(first.low, first.mean);
  EXPECT_GT(first.high, first.mean);
  EXPECT_GT(first.low, 0);
  EXPECT_EQ(first.low, again.low);
}

}  // namespace
}  // namespace rerankd
