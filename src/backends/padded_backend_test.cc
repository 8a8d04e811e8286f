#include "backends/padded_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <new>
#include <stdexcept>

namespace rerankd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

ModelConfig Config() {
  ModelConfig config;
  config.vocab_size = 100;
  config.max_positions = 8;
  config.type_vocab_size = 2;
  config.num_labels = 2;
  return config;
}

// Logit 0 = sum of ids x (1 + type) under the mask, logit 1 = width of the rectangle.
class SumBackend final : public PaddedBackend {
 public:
  explicit SumBackend(int batch_tokens = 16, const ModelConfig& config = Config(), int max_rows = 0)
      : PaddedBackend(Caps(batch_tokens, max_rows), config) {}

  BackendUsage usage() const override { return {}; }

  std::vector<int> rows;         // of each rectangle
  std::function<void()> fault;   // called in each rectangle
  bool silent = false;           // writes no logits and says that all is well
  int fail = 0;                  // so many next rectangles fail
  CancelFlag* cancel = nullptr;  // pulled in the first rectangle

 protected:
  Status Run(const PaddedBatch& in, std::span<float> logits) override {
    rows.push_back(in.rows);
    if (cancel != nullptr) cancel->Cancel();
    if (fault) fault();
    if (fail > 0 && fail-- % 2 == 0) throw std::runtime_error("the device said no");
    if (fail > 0) return Internal("broken");
    if (silent) return {};
    EXPECT_EQ(in.padded, std::count(in.mask.begin(), in.mask.end(), 0) > 0);
    for (int r = 0; r < in.rows; ++r) {
      float sum = 0;
      for (int c = 0; c < in.longest; ++c) {
        const auto at = static_cast<size_t>(r * in.longest + c);
        EXPECT_TRUE(in.mask[at] == 1 || (in.ids[at] == 0 && in.type_ids[at] == 0));
        sum += static_cast<float>(in.mask[at] * in.ids[at] * (1 + in.type_ids[at]));
      }
      logits[static_cast<size_t>(r * 2)] = sum;
      logits[static_cast<size_t>(r * 2 + 1)] = static_cast<float>(in.longest);
    }
    return {};
  }

 private:
  static BackendCaps Caps(int batch_tokens, int max_rows) {
    BackendCaps caps;
    caps.name = "sum";
    caps.device = "cpu";
    caps.batch_tokens = batch_tokens;
    caps.max_rows = max_rows;
    return caps;
  }
};

struct Pairs {
  explicit Pairs(std::initializer_list<int> lengths) {
    for (const int length : lengths) {
      for (int t = 0; t < length; ++t) pairs.PushToken(t + 1, t == length - 1);
      pairs.ClosePair(length);
    }
    for (int i = 0; i < pairs.size(); ++i) batch.Add(pairs[i]);
  }
  EncodedPairs pairs;
  Batch batch;
};

TEST(PaddedBackend, SortsByLengthCutsAndKeepsOrder) {
  SumBackend backend;
  const Pairs pairs({2, 8, 3, 7, 2});  // 2 rows of 8, then 3 of 3
  std::vector<float> logits(10);
  BatchStats stats;
  ASSERT_TRUE(backend.Score(pairs.batch, CancelFlag(), logits, &stats).ok());
  EXPECT_THAT(backend.rows, ElementsAre(2, 3));
  EXPECT_EQ(stats.padded_tokens, 2 * 8 + 3 * 3);
  EXPECT_THAT(logits, ElementsAre(5, 3, 44, 8, 9, 3, 35, 8, 5, 3));
}

TEST(PaddedBackend, APairLongerThanTheBudgetRunsAlone) {
  SumBackend backend(4);
  const Pairs pairs({8, 8});
  std::vector<float> logits(4);
  ASSERT_TRUE(backend.Score(pairs.batch, CancelFlag(), logits, nullptr).ok());
  EXPECT_THAT(backend.rows, ElementsAre(1, 1));
}

TEST(PaddedBackend, NoRectangleHasMoreRowsThanTheEngineTakes) {
  SumBackend backend(16, Config(), 3);
  const Pairs pairs({2, 2, 2, 2, 2});
  std::vector<float> logits(10);
  ASSERT_TRUE(backend.Score(pairs.batch, CancelFlag(), logits, nullptr).ok());
  EXPECT_THAT(backend.rows, ElementsAre(3, 2));
  const int lengths[] = {2};
  ASSERT_TRUE(backend.Warmup(lengths).ok());
  EXPECT_THAT(backend.rows, ElementsAre(3, 2, 1, 3));
}

TEST(PaddedBackend, CapsTellTheSchedulerThatPaddingCosts) {
  const SumBackend backend;
  EXPECT_TRUE(backend.caps().padded);
  EXPECT_EQ(backend.caps().max_tokens, 8);
  EXPECT_EQ(backend.caps().num_labels, 2);
}

TEST(PaddedBackend, RefusesWhatTheModelCannotHold) {
  SumBackend backend;
  const Pairs pairs({9});
  std::vector<float> logits(2);
  EXPECT_EQ(backend.Score(pairs.batch, CancelFlag(), logits, nullptr).code(), Code::kInvalidArgument);
  EXPECT_EQ(backend.Score(Pairs({1}).batch, CancelFlag(), {}, nullptr).code(), Code::kInvalidArgument);
  EXPECT_TRUE(backend.Score(Batch(), CancelFlag(), {}, nullptr).ok());
  EXPECT_TRUE(backend.rows.empty());
}

TEST(PaddedBackend, StopsBetweenRectangles) {
  SumBackend backend;
  CancelFlag cancel;
  backend.cancel = &cancel;
  const Pairs pairs({8, 8, 8});
  std::vector<float> logits(6);
  EXPECT_EQ(backend.Score(pairs.batch, cancel, logits, nullptr).code(), Code::kCancelled);
  EXPECT_THAT(backend.rows, ElementsAre(2));
}

TEST(PaddedBackend, RecoversFromAFailureAndIsUnhealthyAfterThree) {
  SumBackend backend;
  const Pairs pairs({2});
  std::vector<float> logits(2);
  const auto score = [&] { return backend.Score(pairs.batch, CancelFlag(), logits, nullptr); };
  backend.fail = 2;
  EXPECT_THAT(score().message(), HasSubstr("sum failed on 1 x 2 tokens: the device said no"));
  backend.fail = 0;
  EXPECT_TRUE(score().ok());
  EXPECT_TRUE(backend.health().ok());
  for (int i = 0; i < 3; ++i) {
    backend.fail = 2;
    EXPECT_FALSE(score().ok());
  }
  EXPECT_EQ(backend.health().code(), Code::kUnavailable);
  EXPECT_THAT(backend.health().message(), HasSubstr("3 failures in a row"));
}

TEST(PaddedBackend, ALackOfMemoryIsToldApartInEveryEnginesWords) {
  SumBackend backend;
  const Pairs pairs({2});
  std::vector<float> logits(2);
  const auto score = [&] { return backend.Score(pairs.batch, CancelFlag(), logits, nullptr); };
  backend.fault = [] { throw std::bad_alloc(); };
  EXPECT_EQ(score().code(), Code::kResourceExhausted);
  EXPECT_THAT(score().message(), AllOf(HasSubstr("sum failed on 1 x 2 tokens: out of memory"),
                                       HasSubstr("lower scheduler.batch_tokens")));
  for (const char* words : {
           "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
           "tried "
           "to allocate 4096 bytes. Error code 12 (Cannot allocate memory)",
           "CUDA out of memory. Tried to allocate 2.00 GiB",
           "MPS backend out of memory (MPS allocated: 1.00 GB)",
           "[malloc_or_wait] Unable to allocate 4096 bytes.",
           "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 4096",
           "Exception from src/inference/src/cpp/infer_request.cpp:223: std::bad_alloc",
           "clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES",
       }) {
    SumBackend other;
    other.fault = [&] { throw std::runtime_error(words); };
    const Status status = other.Score(pairs.batch, CancelFlag(), logits, nullptr);
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << words;
    other.fault = nullptr;
    EXPECT_TRUE(other.Score(pairs.batch, CancelFlag(), logits, nullptr).ok());  // it recovers
  }
  backend.fault = [] { throw std::runtime_error("a lack of ideas"); };
  EXPECT_EQ(score().code(), Code::kInternal);
}

TEST(PaddedBackend, MemoryIsAskedForBeforeTheEngineIs) {
  ModelConfig config = Config();
  config.hidden_size = config.intermediate_size = 1 << 24;  // more than any address space holds
  config.num_heads = 1 << 20;
  config.max_positions = 1 << 14;
  SumBackend backend(1 << 14, config);
  std::vector<float> logits(2);
  const std::vector<int32_t> ids(size_t{1} << 14, 1);
  const std::vector<uint8_t> types(ids.size(), 0);
  Batch batch;
  batch.Add({ids, types});
  for (int i = 0; i < 5; ++i) {
    const Status status = backend.Score(batch, CancelFlag(), logits, nullptr);
    EXPECT_EQ(status.code(), Code::kResourceExhausted);
    EXPECT_THAT(status.message(), HasSubstr("MiB are needed; lower scheduler.batch_tokens"));
  }
  EXPECT_TRUE(backend.rows.empty());
  EXPECT_TRUE(backend.health().ok());
}

TEST(Caught, TellsALackOfMemoryFromOtherFailures) {
  const auto status = [](const std::function<void()>& fault) {
    return Caught("engine", [&] { return fault(), Status(); });
  };
  EXPECT_EQ(status([] { throw std::bad_alloc(); }).ToString(), "RESOURCE_EXHAUSTED: engine: std::bad_alloc");
  EXPECT_EQ(status([] { throw std::runtime_error("no"); }).ToString(), "INTERNAL: engine: no");
  EXPECT_TRUE(status([] {}).ok());
}

TEST(PaddedBackend, AnEngineThatSilentlyDidNothingIsNoticed) {
  SumBackend backend;
  backend.silent = true;
  std::vector<float> logits(2);
  const Status status = backend.Score(Pairs({2}).batch, CancelFlag(), logits, nullptr);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("a logit is missing or not finite"));
}

TEST(PaddedBackend, WarmsUpOneRowAndFullRectangles) {
  SumBackend backend;
  const int lengths[] = {4, 100};
  ASSERT_TRUE(backend.Warmup(lengths).ok());
  EXPECT_THAT(backend.rows, ElementsAre(1, 4, 1, 2));
}

}  // namespace
}  // namespace rerankd
