// The native engine, tokenizer included, against the golden logits of this folder (README.md): every golden
// pair within 1e-4 on every instruction set of this machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "backends/native/native_backend.h"
#include "base/file.h"
#include "base/text.h"
#include "kernels/dispatch.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kTolerance = 1e-4;
constexpr int kFewPairs = 40;  // where all pairs would take too long; every golden file has as many
const fs::path kRoot = RERANKD_SOURCE_DIR;
const fs::path kParity = kRoot / "tests" / "parity";

struct GoldenPair {
  std::string query, document;
  int tokens = 0;
  std::vector<float> logits;
};

// One golden file: where its model and its texts are.
struct GoldenSet {
  std::string name;
  fs::path model;  // folder
  fs::path file;   // .tsv
  bool own_texts = true;
};

void PrintTo(const GoldenSet& set, std::ostream* out) { *out << set.name; }

using Texts = std::map<std::string, std::string>;  // by id
struct TextPool {
  Texts queries, documents;
};

std::string EnvironmentOr(const char* name, const fs::path& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback.string();
}

TextPool OwnTexts() {
  const auto text = ReadFile((kParity / "texts.json").string());
  if (!text.ok()) return {};
  const json parsed = json::parse(*text);
  TextPool pool;
  const auto number = [](const json& list, Texts* texts) {
    for (const auto& item : list) texts->emplace(std::to_string(texts->size()), item.get<std::string>());
  };
  number(parsed["queries"], &pool.queries);
  number(parsed["documents"], &pool.documents);
  return pool;
}

// The texts with one of the `wanted` ids of a BEIR file; a title stands before its text.
Texts ReadBeir(const fs::path& path, const std::set<std::string>& wanted) {
  Texts texts;
  auto reader = LineReader::Open(path.string());
  std::string line;
  while (reader.ok() && reader->Next(&line)) {
    const json entry = json::parse(line);
    const auto id = entry["_id"].get<std::string>();
    if (!wanted.contains(id)) continue;
    const std::string title = entry.value("title", "");
    texts[id] = (title.empty() ? "" : title + " ") + entry["text"].get<std::string>();
  }
  return texts;
}

std::vector<std::vector<std::string>> ReadRows(const fs::path& path) {
  std::vector<std::vector<std::string>> rows;
  auto reader = LineReader::Open(path.string());
  std::string line;
  while (reader.ok() && reader->Next(&line)) {
    const auto fields = Split(line, '\t');
    rows.emplace_back(fields.begin(), fields.end());
  }
  if (!rows.empty()) rows.erase(rows.begin());  // the column names
  return rows;
}

fs::path Dl19Folder() {
  return fs::path(EnvironmentOr("RERANKD_TEST_DATA", kRoot.parent_path() / "shared" / "data")) /
         "msmarco-dl19";
}

TextPool Dl19Texts(const std::vector<std::vector<std::string>>& rows) {
  std::set<std::string> queries, documents;
  for (const auto& row : rows) {
    queries.insert(row[0]);
    documents.insert(row[1]);
  }
  return {ReadBeir(Dl19Folder() / "queries.jsonl", queries),
          ReadBeir(Dl19Folder() / "corpus.jsonl", documents)};
}

std::vector<GoldenPair> ReadGoldens(const GoldenSet& set) {
  const auto rows = ReadRows(set.file);
  const TextPool texts = set.own_texts ? OwnTexts() : Dl19Texts(rows);
  std::vector<GoldenPair> pairs;
  for (const auto& row : rows) {
    GoldenPair pair{texts.queries.at(row[0]), texts.documents.at(row[1]), std::stoi(row[2]), {}};
    for (size_t i = 3; i < row.size(); ++i) pair.logits.push_back(std::stof(row[i]));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

// The random models beside their goldens, and the models that <name>_own.tsv and <name>_dl19.tsv speak of.
std::vector<GoldenSet> AllGoldens() {
  std::vector<GoldenSet> sets;
  for (const auto& entry : fs::directory_iterator(kRoot / "tests" / "data")) {
    if (fs::exists(entry.path() / "golden.tsv"))
      sets.push_back({entry.path().filename().string(), entry.path(), entry.path() / "golden.tsv", true});
  }
  for (const auto& entry : fs::directory_iterator(kParity)) {
    if (entry.path().extension() != ".tsv") continue;
    const std::string stem = entry.path().stem().string();
    const std::string model = stem.substr(0, stem.rfind('_'));
    const fs::path folder = model == "minilm"
                                ? fs::path(EnvironmentOr("RERANKD_TEST_MINILM", kRoot / "build" / "minilm"))
                                : kRoot / "models" / model;
    sets.push_back({stem, folder, entry.path(), stem.ends_with("_own")});
  }
  std::sort(sets.begin(), sets.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return sets;
}

EncodedPairs Encode(const Tokenizer& tokenizer, int max_length, const std::vector<GoldenPair>& pairs) {
  EncodedPairs encoded;
  PairOptions options;
  options.max_length = max_length;
  for (const GoldenPair& pair : pairs) {
    std::vector<int32_t> query;
    tokenizer.EncodeText(pair.query, options.escape_special, &query);
    const Status status = tokenizer.AppendPair(query, pair.document, options, &encoded);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  return encoded;
}

// The logits of pairs [first, first + count) in one batch.
std::vector<float> Score(Backend* backend, const EncodedPairs& pairs, int first, int count) {
  Batch batch;
  for (int i = first; i < first + count; ++i) batch.Add(pairs[i]);
  std::vector<float> logits(static_cast<size_t>(count * backend->caps().num_labels));
  BatchStats stats;
  const Status status = backend->Score(batch, CancelFlag(), logits, &stats);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

class Parity : public ::testing::TestWithParam<GoldenSet> {
 protected:
  void SetUp() override {
#ifdef RERANKD_SANITIZED
    if (GetParam().model.parent_path() != kRoot / "tests" / "data")
      GTEST_SKIP() << "under a sanitizer only the small models run";
#endif
    if (!fs::exists(GetParam().model / "config.json"))
      GTEST_SKIP() << "no model in " << GetParam().model << " (tests/parity/README.md says how to make it)";
    if (!GetParam().own_texts && !fs::exists(Dl19Folder()))
      GTEST_SKIP() << "no data in " << Dl19Folder() << " (set RERANKD_TEST_DATA)";
    goldens_ = ReadGoldens(GetParam());
    ASSERT_GE(goldens_.size(), size_t{kFewPairs});
    auto tokenizer = LoadTokenizer(GetParam().model.string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
    const auto config = LoadModelConfig(GetParam().model.string());
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    ASSERT_TRUE(CheckVocabulary(*config, (*tokenizer)->vocab_size()).ok());
    encoded_ = Encode(**tokenizer, config->max_positions, goldens_);
  }

  std::unique_ptr<Backend> MakeBackend(const std::string& isa) const {
    NativeOptions options;
    options.precision = "fp32";
    options.isa = isa;
    auto model = NativeModel::Load(GetParam().model.string(), options);
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return model.ok() ? MakeNativeBackend(*model) : nullptr;
  }

  // The largest distance of the logits of the first pairs from their goldens.
  double Worst(const std::vector<float>& logits) const {
    const size_t labels = goldens_[0].logits.size();
    double worst = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const float golden = goldens_[i / labels].logits[i % labels];
      const double error = std::abs(double{logits[i]} - golden);
      EXPECT_LE(error, kTolerance) << "pair " << i / labels << ": " << logits[i] << ", golden " << golden;
      worst = std::max(worst, error);
    }
    return worst;
  }

  std::vector<GoldenPair> goldens_;
  EncodedPairs encoded_;
};

TEST_P(Parity, TokensAreThoseOfTheGoldens) {
  for (size_t i = 0; i < goldens_.size(); ++i)
    EXPECT_EQ(encoded_.length(static_cast<int>(i)), goldens_[i].tokens) << "pair " << i;
}

TEST_P(Parity, LogitsAgreeOnEveryInstructionSet) {
  const auto fastest = ChooseKernels("");
  ASSERT_TRUE(fastest.ok());
  for (const KernelSet* kernels : BuiltKernelSets()) {
    // The scalar reference is slow: it proves itself on the small models.
    const bool scalar = kernels == BuiltKernelSets().front();
    if (!Runs(*kernels) || (scalar && encoded_.size() > kFewPairs)) continue;
    SCOPED_TRACE(kernels->name);
    const auto backend = MakeBackend(kernels->name);
    ASSERT_NE(backend, nullptr);
    ASSERT_EQ(static_cast<size_t>(backend->caps().num_labels), goldens_[0].logits.size());
    const int count = kernels == *fastest ? encoded_.size() : kFewPairs;
    const double worst = Worst(Score(backend.get(), encoded_, 0, count));
    std::cout << kernels->name << ": max abs difference " << worst << " in " << count << " pairs\n";
  }
}

TEST_P(Parity, APairScoresTheSameAloneAndInABatch) {
  const auto backend = MakeBackend("");
  ASSERT_NE(backend, nullptr);
  std::vector<float> alone;
  for (int i = 0; i < kFewPairs; ++i) {
    const std::vector<float> logits = Score(backend.get(), encoded_, i, 1);
    alone.insert(alone.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(alone, Score(backend.get(), encoded_, 0, kFewPairs));  // bit for bit
}

INSTANTIATE_TEST_SUITE_P(Goldens, Parity, ::testing::ValuesIn(AllGoldens()), [](const auto& param) {
  std::string name = param.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace rerankd
