// The native engine, tokenizer included, against the golden logits of this folder (README.md): every golden
// pair within 1e-4 on every instruction set of this machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "backends/native/native_backend.h"
#include "goldens.h"
#include "kernels/dispatch.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;
constexpr int kFewPairs = 40;  // where all pairs would take too long; every golden file has as many

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
    if (GetParam().model.parent_path() != fs::path(RERANKD_SOURCE_DIR) / "tests" / "data")
      GTEST_SKIP() << "under a sanitizer only the small models run";
#endif
    if (const std::string why = WhyAbsent(GetParam()); !why.empty()) GTEST_SKIP() << why;
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
