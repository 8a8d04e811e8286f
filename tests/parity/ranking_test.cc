// Does a lower precision keep the ranking? int8 and bf16 against our fp32 on BM25 candidates of TREC DL 2019,
// with the bundled trained model: mean Spearman correlation of the queries' scores and overlap of their first
// ten.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "backends/native/native_backend.h"
#include "base/file.h"
#include "kernels/testing/kernel_sets.h"
#include "model/bert_weights.h"
#include "tokenizer/tokenizer.h"
#include "weights/model_config.h"
#include "weights/tensor_source.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTop = 10;
constexpr int kAllQueries = 43;  // of DL19
const fs::path kRoot = RERANKD_SOURCE_DIR;

fs::path Dl19() {
  const char* data = std::getenv("RERANKD_TEST_DATA");
  return fs::path(data != nullptr ? data : kRoot.parent_path() / "shared" / "data") / "msmarco-dl19";
}

// RERANKD_TEST_QUERIES asks for more.
int WantedQueries(int usual) {
  const char* count = std::getenv("RERANKD_TEST_QUERIES");
  return count != nullptr ? std::atoi(count) : usual;
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

using Model = std::shared_ptr<const NativeModel>;

const std::string& Folder() {
  static const std::string folder = (kRoot / "models" / "default").string();
  return folder;
}

// The test is skipped with this reason; empty: it runs.
std::string WhyNot() {
#ifdef RERANKD_SANITIZED
  return "under a sanitizer only the small models run";
#endif
  return fs::exists(Dl19()) ? "" : "no data in " + Dl19().string() + " (set RERANKD_TEST_DATA)";
}

// A query's candidates as the model reads them.
EncodedPairs Encode(const Tokenizer& tokenizer, int max_length, const std::string& query,
                    const std::vector<std::string>& documents) {
  EncodedPairs pairs;
  std::vector<int32_t> ids;
  PairOptions options;
  options.max_length = max_length;
  tokenizer.EncodeText(query, options.escape_special, &ids);
  for (const std::string& document : documents)
    EXPECT_TRUE(tokenizer.AppendPair(ids, document, options, &pairs).ok());
  return pairs;
}

struct Gates {
  double spearman, overlap;  // means of all 43 queries
};

// The overlap of one query varies by about 0.05: with fewer of them twice the error of their mean is allowed.
double Slack(int queries) { return queries < kAllQueries ? 0.1 / std::sqrt(queries) : 0; }

void ExpectTheRankingOfFp32(const Model& model, int queries, Gates gates) {
  const auto tokenizer = LoadTokenizer(Folder());
  const auto exact = NativeModel::Load(Folder(), std::string("fp32"));
  ASSERT_TRUE(tokenizer.ok() && exact.ok());
  const auto exact_backend = MakeNativeBackend(*exact), backend = MakeNativeBackend(model);
  const CandidatesOfQueries run = ReadRun(queries);
  std::set<std::string> query_ids, document_ids;
  for (const auto& [query, candidates] : run) {
    query_ids.insert(query);
    document_ids.insert(candidates.begin(), candidates.end());
  }
  const auto query_texts = ReadTexts("queries.jsonl", query_ids),
             texts = ReadTexts("corpus.jsonl", document_ids);
  double spearman = 0, overlap = 0, worst = 0;
  for (const auto& [query, candidates] : run) {
    std::vector<std::string> documents;
    for (const std::string& document : candidates) documents.push_back(texts.at(document));
    const EncodedPairs pairs =
        Encode(**tokenizer, (*exact)->config().max_positions, query_texts.at(query), documents);
    const std::vector<float> a = Score(exact_backend.get(), pairs), b = Score(backend.get(), pairs);
    spearman += Spearman(a, b) / static_cast<double>(run.size());
    overlap += TopOverlap(a, b) / static_cast<double>(run.size());
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  }
  std::cout << backend->caps().precision << " on " << backend->caps().details << ", " << run.size()
            << " queries: mean Spearman " << spearman << ", top-10 overlap " << overlap
            << ", largest difference of a logit " << worst << "\n";
  EXPECT_GE(spearman, gates.spearman);
  EXPECT_GE(overlap, gates.overlap - Slack(queries));
}

Model Load(const KernelSet& kernels, Precision precision) {
  const auto config = LoadModelConfig(Folder());
  EXPECT_TRUE(config.ok());
  auto source = TensorSource::Open(Folder(), *config);
  EXPECT_TRUE(source.ok()) << source.status().ToString();
  const auto weights = MakeBertWeights(*config, std::move(*source), kernels, GemmProvider::kOwn, precision);
  EXPECT_TRUE(weights.ok()) << weights.status().ToString();
  return std::make_shared<const NativeModel>(*weights);
}

// What AUTO runs, and what runs without the attention of its own that the fastest set may have.
TEST(RankingTest, Int8KeepsTheRankingOfFp32) {
  if (const std::string reason = WhyNot(); !reason.empty()) GTEST_SKIP() << reason;
  const std::vector<const KernelSet*> sets = RunningSets();
  ExpectTheRankingOfFp32(Load(*sets.back(), Precision::kInt8), WantedQueries(4), {0.995, 0.95});
  if (sets.back()->bf16_attention != nullptr)
    ExpectTheRankingOfFp32(Load(*sets[sets.size() - 2], Precision::kInt8), WantedQueries(4), {0.995, 0.95});
}

// With the instructions of this CPU, each of its sets that multiplies bf16; else emulated.
TEST(RankingTest, Bf16KeepsTheRankingOfFp32) {
  if (const std::string reason = WhyNot(); !reason.empty()) GTEST_SKIP() << reason;
  const auto no_bf16 = [](const KernelSet* kernels) {
    return kernels == BuiltKernelSets().front() || kernels->bf16_gemm == nullptr;
  };
  std::vector<const KernelSet*> sets = RunningSets();
  std::erase_if(sets, no_bf16);
  if (sets.empty()) {
    sets = TestedSets();
    std::erase_if(sets, no_bf16);
    if (sets.empty()) GTEST_SKIP() << "only the reference multiplies bf16 here: too slow";
    sets.resize(1);
  }
  for (const KernelSet* kernels : sets)
    ExpectTheRankingOfFp32(Load(*kernels, Precision::kBf16), WantedQueries(2), {0.999, 0.98});
}

}  // namespace
}  // namespace rerankd
