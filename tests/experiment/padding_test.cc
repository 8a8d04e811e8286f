// The padding column of the report, on the reference system's own workload: tokenised here, the requests that
// its report sampled give the values that it printed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/encoding.h"
#include "core/request.h"
#include "load/dataset.h"
#include "serving/metrics/reference_metrics.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 96;

fs::path TestData() {
  const char* value = std::getenv("RERANKD_TEST_DATA");
  return value != nullptr ? fs::path(value) : fs::path(RERANKD_SOURCE_DIR).parent_path() / "shared/data";
}

// Padding of request `index`: pairs (index * kBatch) and on.
double PaddingOfRequest(const Tokenizer& tokenizer, const load::Dataset& dataset, int index) {
  EncodedPairs pairs;
  for (int i = 0; i < kBatch; ++i) {
    const auto& [query, document] =
        dataset.pairs[static_cast<size_t>((index * kBatch + i)) % dataset.pairs.size()];
    std::vector<int32_t> query_ids;
    tokenizer.EncodeText(query, false, &query_ids);
    EXPECT_TRUE(tokenizer.AppendPair(query_ids, document, PairOptions{}, &pairs).ok());
  }
  TokenCounts counts;
  counts.real = pairs.tokens();
  counts.pairs = pairs.size();
  for (int i = 0; i < pairs.size(); ++i) counts.longest = std::max(counts.longest, pairs.length(i));
  return serving::PaddingPercent(counts);
}

TEST(PaddingColumn, EqualsThatOfTheReferenceReport) {
  const fs::path workload = TestData() / "msmarco-v1.1-pairs/pairs.jsonl";
  if (!fs::exists(workload)) GTEST_SKIP() << "no " << workload << "; set RERANKD_TEST_DATA";
  const auto dataset = load::LoadDataset(workload.string(), 5000);
  ASSERT_TRUE(dataset.ok()) << dataset.status().ToString();
  const auto tokenizer = LoadTokenizer((TestData() / "ms-marco-MiniLM-L-6-v2").string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();

  const int requests[] = {0, 4, 10, 16, 22, 29, 32, 34, 37, 40, 44, 48};
  const double printed[] = {42.6, 47.6, 41.9, 44.0, 42.3, 42.2, 44.6, 47.5, 44.7, 51.0, 42.3, 51.6};
  for (size_t i = 0; i < std::size(requests); ++i)
    EXPECT_NEAR(PaddingOfRequest(**tokenizer, *dataset, requests[i]), printed[i], 0.0501)
        << "request " << requests[i];
}

}  // namespace
}  // namespace rerankd
