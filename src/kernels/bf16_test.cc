// The bf16 side of every kernel set that has one: rounding and products against the formulas in double
// precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "kernels/testing/kernel_sets.h"

namespace rerankd {
namespace {

std::vector<const KernelSet*> Bf16Sets() {
  std::vector<const KernelSet*> sets = TestedSets();
  std::erase_if(sets, [](const KernelSet* kernels) { return kernels->bf16_gemm == nullptr; });
  return sets;
}

class Bf16Test : public testing::TestWithParam<const KernelSet*> {};

INSTANTIATE_TEST_SUITE_P(Isa, Bf16Test, testing::ValuesIn(Bf16Sets()),
                         [](const auto& test) { return std::string(test.param->name); });

// The nearest of two neighbours in bf16; in the middle the even one.
float Rounded(float x) {
  const float down = std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xFFFF0000U);
  const float up = std::bit_cast<float>((std::bit_cast<uint32_t>(x) & 0xFFFF0000U) + 0x10000U);
  const double below = std::abs(double{x} - down), above = std::abs(double{up} - x);
  if (below != above) return below < above ? down : up;
  return (std::bit_cast<uint32_t>(down) >> 16) % 2 == 0 ? down : up;
}

// Rows and their codes.
struct Coded {
  int rows, width, stride;
  std::vector<float> values;
  std::vector<unsigned char> codes;

  Coded(int row_count, int row_width, std::vector<float> x)
      : rows(row_count),
        width(row_width),
        stride((row_width + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment * 2),
        values(std::move(x)),
        codes(static_cast<size_t>(rows * stride) + 1, 0xFF) {}  // a NaN, where nobody writes

  CodedRows View() { return {codes.data(), stride, nullptr, nullptr, Precision::kBf16}; }
  // Of some rows that follow each other.
  Rows From(int row) {
    Rows view = {.values = values.data() + row * width, .stride = width, .coded = View()};
    view.coded.codes += row * stride;
    return view;
  }
  float Value(int row, int k) const {
    uint16_t code;
    std::memcpy(&code, codes.data() + row * stride + 2 * k, sizeof(code));
    return std::bit_cast<float>(uint32_t{code} << 16);
  }
};

Coded Encode(const KernelSet& kernels, int rows, int width, std::vector<float> x) {
  Coded coded(rows, width, std::move(x));
  kernels.encode({coded.values.data(), rows, width, coded.View()});
  return coded;
}

TEST_P(Bf16Test, CodesAreTheNearestForEveryWidth) {
  for (int width = 1; width <= 200; ++width) {
    std::vector<float> x = Random(static_cast<size_t>(3 * width), 5);
    for (int k = 0; k < width; ++k) {
      const uint32_t tie = (0x3F80U + static_cast<uint32_t>(k)) << 16 | 0x8000U;
      x[static_cast<size_t>(width + k)] = std::bit_cast<float>(tie | (k % 3 == 0 ? 1U << 31 : 0U));
      x[static_cast<size_t>(2 * width + k)] *= k % 2 == 0 ? 1e30F : 1e-30F;
    }
    x.back() = 0;
    const Coded coded = Encode(*GetParam(), 3, width, x);
    for (int r = 0; r < 3; ++r) {
      for (int k = 0; k < width; ++k) {
        const float value = x[static_cast<size_t>(r * width + k)];
        ASSERT_EQ(coded.Value(r, k), Rounded(value)) << value << " in row " << r << " of " << width;
      }
    }
    EXPECT_EQ(coded.codes.back(), 0xFF) << "behind the room of the rows";
  }
}

TEST_P(Bf16Test, RowPassesWriteTheCodesOfTheRowsThatTheyMake) {
  for (int width : {20, 96, 384}) {
    const size_t w = static_cast<size_t>(width);
    const std::vector<float> a = Random(2 * w, 1), b = Random(2 * w, 2), c = Random(2 * w, 3);
    const std::vector<int> ids = {1, 0};
    const std::vector<unsigned char> types = {0, 1};
    Coded norm(2, width, std::vector<float>(2 * w)), embed = norm;
    GetParam()->add_layer_norm(
        {a.data(), b.data(), c.data(), c.data(), norm.values.data(), 2, width, 1e-12F, norm.View()});
    EmbedArgs args = {};
    args.ids = ids.data();
    args.type_ids = types.data();
    args.words = {a.data(), nullptr, nullptr};
    args.types = b.data();
    args.positions = args.gamma = args.beta = c.data();
    args.out = embed.values.data();
    args.tokens = 2;
    args.width = width;
    args.epsilon = 1e-12F;
    args.coded = embed.View();
    GetParam()->embed(args);
    for (const Coded* fused : {&norm, &embed}) {
      for (int r = 0; r < 2; ++r) {
        for (int k = 0; k < width; ++k)
          ASSERT_EQ(fused->Value(r, k), Rounded(fused->values[static_cast<size_t>(r * width + k)]));
      }
    }
  }
}

struct Bf16Product {
  std::vector<float> weight, bias;
  LinearWeights weights;

  Bf16Product(int outputs, int inputs, PostOp post)
      : weight(Random(static_cast<size_t>(outputs * inputs), 21)),
        bias(Random(static_cast<size_t>(outputs), 22)),
        weights{weight, bias, outputs, inputs, post} {}
};

// In `to`, whose rows are ldc apart.
void RunProduct(const KernelSet& kernels, const LinearWeights& weights, const Rows& a, int rows, long ldc,
                std::vector<float>* to) {
  Arena arena;
  const auto linear = MakeLinear(weights, {&kernels, GemmProvider::kOwn, &arena, Precision::kBf16});
  ASSERT_TRUE(linear.ok()) << linear.status().ToString();
  (*linear)->Run(a, rows, to->data(), ldc);
}

// Products of bf16 are exact in fp32 (8 + 8 digits), so that a sum of k of them and a bias errs by at most
// (k + 2) units of the sum of magnitudes, whatever its order, and a post-op as much as in fp32 (|gelu'|
// <= 1.13) or what the coarse one may.
TEST_P(Bf16Test, ProductsMatchTheFormulaForEveryShapeAndPostOp) {
  const PostOp posts[] = {PostOp::kNone, PostOp::kGelu, PostOp::kGeluTanh, PostOp::kRelu, PostOp::kTanh};
  int turn = 0;
  for (int outputs : {1, 3, 8, 15, 16, 17, 33, 48, 1152}) {
    for (int inputs : {1, 7, 32, 63, 384, 385, 1536}) {
      const Bf16Product p(outputs, inputs, posts[turn++ % 5]);
      const size_t n = static_cast<size_t>(outputs), depth = static_cast<size_t>(inputs);
      Coded x = Encode(*GetParam(), 19, inputs, Random(19 * depth, 23));
      std::vector<float> y(19 * n);
      RunProduct(*GetParam(), p.weights, x.From(0), 19, outputs, &y);
      std::vector<float> w = p.weight;
      for (float& value : w) value = Rounded(value);
      for (size_t r = 0; r < 19; ++r) {
        for (size_t o = 0; o < n; ++o) {
          double sum = p.bias[o], magnitude = std::abs(sum);
          for (size_t k = 0; k < depth; ++k) {
            const double term = double{Rounded(x.values[r * depth + k])} * w[o * depth + k];
            sum += term;
            magnitude += std::abs(term);
          }
          const double expected = ExactPostOp(p.weights.post, sum);
          const double tolerance = 1.13 * (inputs + 2) * kUnit * magnitude + 12 * kUnit * std::abs(expected) +
                                   5e-7 + CoarseError(p.weights.post, sum);
          ASSERT_NEAR(y[r * n + o], expected, tolerance) << outputs << " x " << inputs << " row " << r;
        }
      }
    }
  }
}

TEST_P(Bf16Test, ARowIsBitEqualWhateverTheNumberOfRowsAndItsPlace) {
  for (const auto& [outputs, inputs] : {std::pair{384, 384}, {100, 801}, {1536, 64}}) {
    const Bf16Product p(outputs, inputs, PostOp::kGelu);
    Coded x = Encode(*GetParam(), 256, inputs, Random(static_cast<size_t>(256 * inputs), 23));
    std::vector<float> all(static_cast<size_t>(256 * outputs)), some = all;
    RunProduct(*GetParam(), p.weights, x.From(0), 256, outputs, &all);
    for (int rows = 1; rows <= 256; rows += RowStep(*GetParam())) {
      const int first = 256 - rows;
      RunProduct(*GetParam(), p.weights, x.From(first), rows, outputs, &some);
      ASSERT_EQ(std::memcmp(some.data(), all.data() + first * outputs,
                            static_cast<size_t>(rows * outputs) * sizeof(float)),
                0)
          << rows << " rows of " << outputs << " x " << inputs;
    }
  }
}

TEST_P(Bf16Test, StridesAreHonouredAndNothingElseIsWritten) {
  const Bf16Product p(20, 12, PostOp::kRelu);
  Coded x = Encode(*GetParam(), 9, 12, Random(9 * 12, 3));
  std::vector<float> dense(9 * 20), y(9 * 25, 77);
  RunProduct(*GetParam(), p.weights, x.From(0), 9, 20, &dense);
  RunProduct(*GetParam(), p.weights, x.From(0), 9, 25, &y);
  for (size_t r = 0; r < 9; ++r) {
    EXPECT_EQ(std::memcmp(y.data() + r * 25, dense.data() + r * 20, 20 * sizeof(float)), 0) << r;
    for (size_t i = 20; i < 25; ++i) EXPECT_EQ(y[r * 25 + i], 77);
  }
}

TEST_P(Bf16Test, PeakCountsItsOperations) {
  const double once = GetParam()->bf16_peak(1000);
  EXPECT_GE(once, 8000);
  EXPECT_EQ(GetParam()->bf16_peak(3000), 3 * once);
}

TEST(Bf16SetsTest, TheReferenceAndWhatTheCpuOrTheEmulationHasAreTested) {
  EXPECT_EQ(Bf16Sets().front(), BuiltKernelSets().front());
#if defined(RERANKD_EMULATED_SETS)
  EXPECT_TRUE(Bf16Sets().size() > 1 || !ChooseKernels("avx2").ok());
#endif
}

TEST(Bf16LinearTest, WhatHasNoSuchProductsRefuses) {
  const Bf16Product p(4, 4, PostOp::kNone);
  Arena arena;
  const auto make = [&](const KernelSet* kernels, GemmProvider provider) {
    return MakeLinear(p.weights, {kernels, provider, &arena, Precision::kBf16}).status();
  };
  EXPECT_EQ(make(BuiltKernelSets().front(), GemmProvider::kOneDnn).code(), Code::kFailedPrecondition);
  for (const KernelSet* kernels : BuiltKernelSets()) {
    const Status status = make(kernels, GemmProvider::kOwn);
    EXPECT_EQ(status.ok(), kernels->bf16_gemm != nullptr) << kernels->name;
    if (!status.ok()) {
      EXPECT_EQ(status.code(), Code::kFailedPrecondition);
      EXPECT_THAT(status.message(), testing::HasSubstr("use fp32 or int8"));
    }
  }
}

}  // namespace
}  // namespace rerankd
