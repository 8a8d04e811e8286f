// Does a lower precision keep the ranking? int8 against our fp32 on BM25 candidates of TREC DL 2019, with the
// bundled trained model: mean Spearman correlation of the queries' scores and overlap of their first ten.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "backends/native/native_backend.h"
#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr int kQueries = 4;  // RERANKD_TEST_QUERIES asks for more; DL19 has 43
constexpr size_t kTop = 10;
const fs::path kRoot = RERANKD_SOURCE_DIR;

fs::path Dl19() {
  const char* data = std::getenv("RERANKD_TEST_DATA");
  return fs::path(data != nullptr ? data : kRoot.parent_path() / "shared" / "data") / "msmarco-dl19";
}

int WantedQueries() {
  const char* count = std::getenv("RERANKD_TEST_QUERIES");
  return count != nullptr ? std::atoi(count) : kQueries;
}

using CandidatesOfQueries =
    std::map<std::string, std::vector<std::string>>;  // query -> its documents, best first

CandidatesOfQueries ReadRun(int queries) {
  auto reader = LineReader::Open((Dl19() / "runs" / "bm25.top100.trec").string());
  EXPECT_TRUE(reader.ok());
  CandidatesOfQueries run;
  std::string line, query, q0, document;
  while (reader.ok() && reader->Next(&line)) {
    std::istringstream(line) >> query >> q0 >> document;
    if (!run.contains(query) && static_cast<int>(run.size()) == queries) break;
    run[query].push_back(document);
  }
  return run;
}

std::map<std::string, std::string> ReadTexts(const char* name, const std::set<std::string>& wanted) {
  std::map<std::string, std::string> texts;
  auto reader = LineReader::Open((Dl19() / name).string());
  std::string line;
  while (reader.ok() && reader->Next(&line)) {
    const auto entry = nlohmann::json::parse(line);
    const auto id = entry["_id"].get<std::string>();
    if (wanted.contains(id)) texts[id] = entry["text"].get<std::string>();
  }
  return texts;
}

std::vector<size_t> Order(const std::vector<float>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

double Spearman(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> rank(a.size());
  const std::vector<size_t> of_a = Order(a), of_b = Order(b);
  for (size_t i = 0; i < of_a.size(); ++i) rank[of_a[i]] = static_cast<double>(i);
  double squares = 0;
  for (size_t i = 0; i < of_b.size(); ++i) squares += std::pow(rank[of_b[i]] - static_cast<double>(i), 2);
  const double n = static_cast<double>(a.size());
  return 1 - 6 * squares / (n * (n * n - 1));
}

double TopOverlap(const std::vector<float>& a, const std::vector<float>& b) {
  const std::vector<size_t> of_a = Order(a), of_b = Order(b);
  const size_t top = std::min(kTop, a.size());
  size_t common = 0;
  for (size_t i = 0; i < top; ++i)
    common += std::count(of_b.begin(), of_b.begin() + static_cast<long>(top), of_a[i]) > 0;
  return static_cast<double>(common) / static_cast<double>(top);
}

std::vector<float> Score(Backend* backend, const EncodedPairs& pairs) {
  Batch batch;
  for (int i = 0; i < pairs.size(); ++i) batch.Add(pairs[i]);
  std::vector<float> logits(static_cast<size_t>(pairs.size()));
  const Status status = backend->Score(batch, CancelFlag(), logits, nullptr);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

TEST(RankingTest, Int8KeepsTheRankingOfFp32) {
#ifdef RERANKD_SANITIZED
  GTEST_SKIP() << "under a sanitizer only the small models run";
#endif
  if (!fs::exists(Dl19())) GTEST_SKIP() << "no data in " << Dl19() << " (set RERANKD_TEST_DATA)";
  const std::string folder = (kRoot / "models" / "default").string();
  const auto tokenizer = LoadTokenizer(folder);
  const auto exact = NativeModel::Load(folder, std::string("fp32"));
  const auto int8 = NativeModel::Load(folder, std::string("int8"));
  ASSERT_TRUE(tokenizer.ok() && exact.ok() && int8.ok());
  const auto exact_backend = MakeNativeBackend(*exact), int8_backend = MakeNativeBackend(*int8);
  ASSERT_EQ(int8_backend->caps().precision, "int8");

  const CandidatesOfQueries run = ReadRun(WantedQueries());
  std::set<std::string> queries, documents;
  for (const auto& [query, candidates] : run) {
    queries.insert(query);
    documents.insert(candidates.begin(), candidates.end());
  }
  const auto query_texts = ReadTexts("queries.jsonl", queries), texts = ReadTexts("corpus.jsonl", documents);
  double spearman = 0, overlap = 0, worst = 0;
  for (const auto& [query, candidates] : run) {
    EncodedPairs pairs;
    std::vector<int32_t> ids;
    PairOptions options;
    options.max_length = (*exact)->config().max_positions;
    (*tokenizer)->EncodeText(query_texts.at(query), options.escape_special, &ids);
    for (const std::string& document : candidates)
      ASSERT_TRUE((*tokenizer)->AppendPair(ids, texts.at(document), options, &pairs).ok());
    const std::vector<float> a = Score(exact_backend.get(), pairs), b = Score(int8_backend.get(), pairs);
    spearman += Spearman(a, b) / static_cast<double>(run.size());
    overlap += TopOverlap(a, b) / static_cast<double>(run.size());
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  }
  std::cout << int8_backend->caps().details << ", " << run.size() << " queries: mean Spearman " << spearman
            << ", top-10 overlap " << overlap << ", largest difference of a logit " << worst << "\n";
  EXPECT_GE(spearman, 0.995);
  EXPECT_GE(overlap, 0.95);
}

}  // namespace
}  // namespace rerankd
