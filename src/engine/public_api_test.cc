// What an application writes: nothing but the public header.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "rerankd/rerankd.h"

namespace {

const std::string kData = std::string(RERANKD_SOURCE_DIR) + "/tests/data/";

TEST(PublicApi, RanksDocuments) {
  auto reranker = rerankd::Reranker::Load({.model = kData + "tiny-random", .threads = 1});
  ASSERT_TRUE(reranker.ok()) << reranker.status().ToString();
  const std::vector<std::string> documents = {"a small animal", "a river in France", "a small animal", ""};
  const auto scores = (*reranker)->Score("what is a cat", documents);
  ASSERT_TRUE(scores.ok());
  ASSERT_EQ(scores->size(), 4u);
  EXPECT_EQ((*scores)[0], (*scores)[2]);
  EXPECT_NE((*scores)[0], (*scores)[1]);

  const auto ranking = (*reranker)->Rank("what is a cat", documents, 3);
  ASSERT_TRUE(ranking.ok());
  ASSERT_EQ(ranking->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const rerankd::RankedDocument& document = (*ranking)[i];
    EXPECT_EQ(document.score, (*scores)[static_cast<size_t>(document.index)]);
    EXPECT_TRUE(i == 0 || (*ranking)[i - 1].score >= document.score);
  }
}

TEST(PublicApi, TakesAnEmptyList) {
  auto reranker = rerankd::Reranker::Load({.model = kData + "tiny-random", .threads = 1});
  ASSERT_TRUE(reranker.ok());
  EXPECT_TRUE((*reranker)->Score("q", {})->empty());
  EXPECT_TRUE((*reranker)->Rank("q", {})->empty());
}

TEST(PublicApi, ReturnsErrors) {
  const auto missing = rerankd::Reranker::Load({.model = "/nonexistent/model"});
  EXPECT_EQ(missing.status().code(), rerankd::Code::kNotFound);

  auto labels3 = rerankd::Reranker::Load({.model = kData + "labels3-f16", .threads = 1});
  ASSERT_TRUE(labels3.ok()) << labels3.status().ToString();
  EXPECT_EQ((*labels3)->num_labels(), 3);
  EXPECT_EQ((*labels3)->Score("q", {"a", "b"})->size(), 6u);
  EXPECT_EQ((*labels3)->Rank("q", {"a", "b"}).status().code(), rerankd::Code::kFailedPrecondition);
}

}  // namespace
