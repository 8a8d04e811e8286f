#include "backends/native/native_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "backends/native/allocation_counter.h"
#include "base/file.h"
#include "kernels/dispatch.h"
#include "model/random_bert.h"

namespace rerankd {
namespace {

ModelConfig TestConfig() {
  ModelConfig config = MiniLmConfig();
  config.hidden_size = 96;
  config.num_layers = 2;
  config.num_heads = 3;
  config.intermediate_size = 200;
  config.vocab_size = 300;
  config.max_positions = 400;
  config.num_labels = 2;
  return config;
}

class NativeBackendTest : public testing::Test {
 protected:
  NativeBackendTest() {
    std::string pattern = testing::TempDir() + "native_backend_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/config.json", ConfigJson(TestConfig())).ok());
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/model.safetensors", RandomBertFile(TestConfig(), 4)).ok());
  }
  ~NativeBackendTest() override { std::filesystem::remove_all(directory_); }

  std::shared_ptr<const NativeModel> Load(const NativeOptions& options = {}) const {
    auto model = NativeModel::Load(directory_, options);
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return *model;
  }

  std::string directory_;
};

EncodedPairs RandomPairs(int count, int longest, uint32_t seed = 9) {
  std::mt19937 engine(seed);
  EncodedPairs pairs;
  for (int i = 0; i < count; ++i) {
    const int length = static_cast<int>(engine() % static_cast<uint32_t>(longest)) + 1;
    for (int t = 0; t < length; ++t) pairs.PushToken(static_cast<int32_t>(engine() % 300), t > length / 3);
    pairs.ClosePair(length);
  }
  return pairs;
}

Batch BatchOf(const EncodedPairs& pairs, int first, int count) {
  Batch batch;
  for (int i = first; i < first + count; ++i) batch.Add(pairs[i]);
  return batch;
}

std::vector<float> Score(Backend& backend, const Batch& batch) {
  std::vector<float> logits(batch.pairs().size() * static_cast<size_t>(backend.caps().num_labels));
  const Status status = backend.Score(batch, CancelFlag(), logits, nullptr);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

TEST_F(NativeBackendTest, CapsSayWhatReallyRuns) {
  const auto backend = MakeNativeBackend(Load());
  const BackendCaps& caps = backend->caps();
  EXPECT_EQ(caps.name, "native");
  const KernelSet& kernels = **ChooseKernels("");
  EXPECT_EQ(caps.precision, kernels.int8.dot ? "int8" : "fp32");
  EXPECT_EQ(caps.details, std::string(kernels.name) + ", own gemm");
  EXPECT_FALSE(caps.padded);
  EXPECT_EQ(caps.max_tokens, 400);
  EXPECT_EQ(caps.num_labels, 2);
}

class PrecisionTest : public NativeBackendTest, public testing::WithParamInterface<const char*> {
 protected:
  std::shared_ptr<const NativeModel> LoadPrecision() const {
    return Load({.precision = GetParam(), .isa = "", .gemm = ""});
  }
};

INSTANTIATE_TEST_SUITE_P(Precision, PrecisionTest, testing::Values("fp32", "bf16", "int8"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(PrecisionTest, APairIsBitEqualInEveryBatchAndOnEveryWorker) {
  const auto model = LoadPrecision();
  const EncodedPairs pairs = RandomPairs(60, 120);
  std::vector<float> expected;
  const auto one = MakeNativeBackend(model);
  for (int i = 0; i < pairs.size(); ++i) {
    for (const float logit : Score(*one, BatchOf(pairs, i, 1))) expected.push_back(logit);
  }
  std::atomic<int> different{0};
  const auto work = [&](uint32_t seed) {
    const auto backend = MakeNativeBackend(model);
    std::mt19937 engine(seed);
    for (int round = 0; round < 20; ++round) {
      const int first = static_cast<int>(engine() % 60);
      const int count = static_cast<int>(engine() % static_cast<uint32_t>(60 - first)) + 1;
      const std::vector<float> logits = Score(*backend, BatchOf(pairs, first, count));
      if (std::memcmp(logits.data(), expected.data() + first * 2, logits.size() * sizeof(float)) != 0)
        ++different;
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(different, 0);
}

TEST_P(PrecisionTest, ScoreAllocatesNothing) {
  const auto backend = MakeNativeBackend(LoadPrecision());
  const EncodedPairs pairs = RandomPairs(50, 350);
  const Batch batch = BatchOf(pairs, 0, 50);
  const int lengths[] = {16, 350};
  ASSERT_TRUE(backend->Warmup(lengths).ok());
  std::vector<float> logits(100);
  const CancelFlag cancel;
  BatchStats stats;
  const int64_t before = Allocations();
  ASSERT_TRUE(backend->Score(batch, cancel, logits, &stats).ok());
  EXPECT_EQ(Allocations() - before, 0);
  EXPECT_EQ(stats.padded_tokens, batch.tokens()) << "no padding is ever computed";
  EXPECT_GT(stats.compute_ms, 0);
}

TEST_F(NativeBackendTest, EmptyBatchesAndWrongRoomForLogits) {
  const auto backend = MakeNativeBackend(Load());
  EXPECT_TRUE(backend->Score(Batch(), CancelFlag(), {}, nullptr).ok());
  const EncodedPairs pairs = RandomPairs(2, 20);
  std::vector<float> three(3);
  EXPECT_EQ(backend->Score(BatchOf(pairs, 0, 2), CancelFlag(), three, nullptr).code(),
            Code::kInvalidArgument);
}

TEST_F(NativeBackendTest, PairsOutsideTheModelAreRefused) {
  const auto backend = MakeNativeBackend(Load());
  std::vector<float> logits(2);
  std::vector<int32_t> ids(401, 1);
  std::vector<uint8_t> types(401, 0);
  Batch too_long;
  too_long.Add({ids, types});
  EXPECT_EQ(backend->Score(too_long, CancelFlag(), logits, nullptr).code(), Code::kInvalidArgument);
  ids.assign(3, 300);
  types.resize(3);
  Batch unknown;
  unknown.Add({ids, types});
  EXPECT_EQ(backend->Score(unknown, CancelFlag(), logits, nullptr).code(), Code::kInvalidArgument);
}

TEST_F(NativeBackendTest, ACancelledBatchSaysSo) {
  const auto backend = MakeNativeBackend(Load());
  const EncodedPairs pairs = RandomPairs(2, 20);
  const CancelFlag cancel;
  cancel.Cancel();
  std::vector<float> logits(4);
  EXPECT_EQ(backend->Score(BatchOf(pairs, 0, 2), cancel, logits, nullptr).code(), Code::kCancelled);
}

TEST_F(NativeBackendTest, PrecisionIsWhatRunsOrAClearError) {
  const KernelSet& kernels = **ChooseKernelsFromEnvironment();
  const std::string half = kernels.bf16_gemm != nullptr ? "bf16" : "fp32";
  const std::map<std::string, std::string> runs = {
      {"auto", kernels.int8.dot ? "int8" : "fp32"}, {"fp32", "fp32"}, {"bf16", half}, {"fp16", half}};
  for (const auto& [name, expected] : runs) {
    const auto model = NativeModel::Load(directory_, name);
    ASSERT_TRUE(model.ok()) << name;
    EXPECT_EQ((*model)->precision(), expected) << name;
  }
  const auto forced = NativeModel::Load(directory_, {.precision = "bf16", .isa = "scalar", .gemm = ""});
  ASSERT_TRUE(forced.ok());
  EXPECT_EQ(MakeNativeBackend(*forced)->caps().precision, "bf16") << "the reference has it everywhere";
  const auto int8 = NativeModel::Load(directory_, std::string("int8"));
  ASSERT_TRUE(int8.ok());
  EXPECT_EQ((*int8)->precision(), "int8");
  EXPECT_EQ(MakeNativeBackend(*int8)->caps().precision, "int8");
  const Status int4 = NativeModel::Load(directory_, std::string("int4")).status();
  EXPECT_EQ(int4.code(), Code::kFailedPrecondition);
  EXPECT_THAT(int4.message(), testing::HasSubstr("use precision auto, int8, bf16 or fp32"));
  EXPECT_EQ(NativeModel::Load(directory_, std::string("fp64")).status().code(), Code::kInvalidArgument);
}

TEST_F(NativeBackendTest, AForcedInstructionSetRunsAndIsNamed) {
  const auto backend = MakeNativeBackend(Load({.precision = "fp32", .isa = "scalar", .gemm = ""}));
  EXPECT_EQ(backend->caps().details, "scalar, own gemm");
  const auto fastest = MakeNativeBackend(Load({.precision = "fp32", .isa = "", .gemm = ""}));
  const EncodedPairs pairs = RandomPairs(3, 30);
  const std::vector<float> a = Score(*backend, BatchOf(pairs, 0, 3));
  const std::vector<float> b = Score(*fastest, BatchOf(pairs, 0, 3));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

TEST_F(NativeBackendTest, TheEnvironmentForcesASetOrFailsAndNeverFallsBack) {
  setenv("RERANKD_ISA", "mmx", 1);
  const Status status = NativeModel::Load(directory_, NativeOptions{}).status();
  setenv("RERANKD_ISA", "scalar", 1);
  const auto scalar = NativeModel::Load(directory_, NativeOptions{});
  unsetenv("RERANKD_ISA");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), testing::HasSubstr("RERANKD_ISA"));
  ASSERT_TRUE(scalar.ok());
  EXPECT_STREQ((*scalar)->weights()->kernels->name, "scalar");
}

TEST_F(NativeBackendTest, InstancesShareTheWeights) {
  const auto model = Load();
  const auto first = MakeNativeBackend(model);
  const int64_t alone = first->usage().host_bytes;
  const auto second = MakeNativeBackend(model);
  const int64_t weights = model->weights()->bytes();
  EXPECT_NEAR(static_cast<double>(first->usage().host_bytes + second->usage().host_bytes),
              static_cast<double>(2 * alone - weights), 2);
}

TEST_F(NativeBackendTest, AFolderWithoutAModelIsAnErrorThatNamesIt) {
  const Status status = NativeModel::Load(directory_ + "/none", NativeOptions{}).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), testing::HasSubstr(directory_ + "/none"));
}

}  // namespace
}  // namespace rerankd
