// The int8 side of every kernel set that this machine runs: codes, weights and products against the formulas
// in double precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "kernels/int8_weights.h"
#include "kernels/testing/kernel_sets.h"

namespace rerankd {
namespace {

class Int8Test : public testing::TestWithParam<const KernelSet*> {};

INSTANTIATE_TEST_SUITE_P(Isa, Int8Test, testing::ValuesIn(TestedSets()),
                         [](const auto& test) { return std::string(test.param->name); });

// Largest code of a row of that many values.
int MaxCode(const Int8Traits& traits, int width) {
  return traits.code_bytes == 1 ? 255 : std::min(kWideSum / width, 32767);
}

// Rows and their codes.
struct Coded {
  int rows, width, code_bytes, lowest_code, stride;
  std::vector<float> values;
  std::vector<unsigned char> codes;
  std::vector<float> scales;
  std::vector<int> zeros;

  Coded(const KernelSet& kernels, int row_count, int row_width, std::vector<float> x)
      : rows(row_count),
        width(row_width),
        code_bytes(kernels.int8.code_bytes),
        lowest_code(kernels.int8.lowest_code),
        stride((row_width + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment * code_bytes),
        values(std::move(x)),
        codes(static_cast<size_t>(rows * stride) + 1, 99),
        scales(static_cast<size_t>(rows)),
        zeros(static_cast<size_t>(rows)) {}

  CodedRows View() { return {codes.data(), stride, scales.data(), zeros.data()}; }
  Rows AsRows() { return {.values = values.data(), .stride = width, .coded = View()}; }
  int Code(int row, int k) const {
    const unsigned char* at = codes.data() + row * stride + k * code_bytes;
    if (code_bytes == 1) return lowest_code < 0 ? static_cast<signed char>(*at) : *at;
    int16_t code;
    std::memcpy(&code, at, sizeof(code));
    return code;
  }
  double Value(int row, int k) const {
    const size_t r = static_cast<size_t>(row);
    return double{scales[r]} * (Code(row, k) - zeros[r]);
  }
};

Coded Encode(const KernelSet& kernels, int rows, int width, std::vector<float> x) {
  Coded coded(kernels, rows, width, std::move(x));
  kernels.encode({coded.values.data(), rows, width, coded.View()});
  return coded;
}

// A code is the nearest: half a step, the rounding of zero (another half) and of a few operations.
TEST_P(Int8Test, CodesAreWithinOneStepForEveryWidth) {
  for (int width = 1; width <= 200; ++width) {
    std::vector<float> x = Random(static_cast<size_t>(3 * width), 5);
    for (int k = 0; k < width; ++k) {
      x[static_cast<size_t>(width + k)] = std::abs(x[static_cast<size_t>(width + k)]) + 3;
      x[static_cast<size_t>(2 * width + k)] *= -1e-6F;
    }
    const Coded coded = Encode(*GetParam(), 3, width, x);
    for (int r = 0; r < 3; ++r) {
      const float* row = x.data() + r * width;
      const float high = std::max(0.0F, *std::max_element(row, row + width));
      const float low = std::min(0.0F, *std::min_element(row, row + width));
      const int most = MaxCode(GetParam()->int8, width);
      const double range = coded.code_bytes == 1 ? double{high} - low : std::max(double{high}, -double{low});
      const double step = range / most;
      EXPECT_NEAR(coded.scales[static_cast<size_t>(r)], step, step * 1e-6);
      for (int k = 0; k < width; ++k) {
        ASSERT_LE(std::abs(coded.Code(r, k)), most);
        ASSERT_NEAR(coded.Value(r, k), row[k], step * 1.001) << width << " " << r << " " << k;
      }
    }
    EXPECT_EQ(coded.codes.back(), 99) << "behind the room of the rows";
  }
}

TEST_P(Int8Test, ZeroHasACodeAndARowOfZerosHasScaleZero) {
  std::vector<float> x = Random(64, 6);
  for (size_t k = 0; k < 32; ++k) x[k] = 0;
  x[40] = 0;
  const Coded coded = Encode(*GetParam(), 2, 32, x);
  EXPECT_EQ(coded.scales[0], 0);
  for (int k = 0; k < 32; ++k) EXPECT_EQ(coded.Value(0, k), 0);
  EXPECT_EQ(coded.Value(1, 8), 0);
}

TEST_P(Int8Test, ARowsCodesDoNotDependOnItsNeighbours) {
  const std::vector<float> x = Random(20 * 100, 7);
  const Coded all = Encode(*GetParam(), 20, 100, x);
  for (int r = 0; r < 20; ++r) {
    const Coded one = Encode(*GetParam(), 1, 100, {x.begin() + r * 100, x.begin() + r * 100 + 100});
    EXPECT_EQ(std::memcmp(one.codes.data(), all.codes.data() + r * all.stride,
                          static_cast<size_t>(100 * all.code_bytes)),
              0);
    EXPECT_EQ(one.scales[0], all.scales[static_cast<size_t>(r)]);
    EXPECT_EQ(one.zeros[0], all.zeros[static_cast<size_t>(r)]);
  }
}

TEST_P(Int8Test, RowPassesWriteTheCodesOfTheRowsThatTheyMake) {
  for (int width : {20, 96, 384}) {
    const size_t w = static_cast<size_t>(width);
    const std::vector<float> a = Random(2 * w, 1), b = Random(2 * w, 2), c = Random(2 * w, 3);
    const std::vector<int> ids = {1, 0};
    const std::vector<unsigned char> types = {0, 1};
    Coded norm(*GetParam(), 2, width, std::vector<float>(2 * w)), embed = norm;
    GetParam()->add_layer_norm(
        {a.data(), b.data(), c.data(), c.data(), norm.values.data(), 2, width, 1e-12F, norm.View()});
    GetParam()->embed({ids.data(),
                       types.data(),
                       {a.data(), nullptr, nullptr},
                       b.data(),
                       c.data(),
                       c.data(),
                       c.data(),
                       embed.values.data(),
                       2,
                       width,
                       1e-12F,
                       embed.View()});
    for (const Coded* fused : {&norm, &embed}) {
      const Coded apart = Encode(*GetParam(), 2, width, fused->values);
      for (int r = 0; r < 2; ++r) {
        for (int k = 0; k < width; ++k) ASSERT_EQ(fused->Code(r, k), apart.Code(r, k));
      }
      EXPECT_EQ(fused->scales, apart.scales);
      EXPECT_EQ(fused->zeros, apart.zeros);
    }
  }
}

TEST_P(Int8Test, AnInt8EmbeddingIsItsRowDequantised) {
  for (int width : {8, 20, 384}) {
    const size_t w = static_cast<size_t>(width);
    std::vector<signed char> codes(9 * w);
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<signed char>(i * 37 % 255 - 127);
    const std::vector<float> scales = Random(9, 4), types = Random(w, 5), positions = Random(3 * w, 6);
    std::vector<float> wide(codes.size()), from_codes(3 * w), from_floats(3 * w);
    for (size_t i = 0; i < codes.size(); ++i) wide[i] = static_cast<float>(codes[i]) * scales[i / w];
    const std::vector<int> ids = {8, 0, 3};
    const std::vector<unsigned char> type_ids = {0, 0, 0};
    const auto embed = [&](const EmbeddingTable& table, std::vector<float>& out) {
      GetParam()->embed({ids.data(),
                         type_ids.data(),
                         table,
                         types.data(),
                         positions.data(),
                         types.data(),
                         types.data(),
                         out.data(),
                         3,
                         width,
                         1e-12F,
                         {}});
    };
    embed({nullptr, codes.data(), scales.data()}, from_codes);
    embed({wide.data(), nullptr, nullptr}, from_floats);
    EXPECT_EQ(std::memcmp(from_codes.data(), from_floats.data(), 3 * w * sizeof(float)), 0) << width;
  }
}

struct Int8Product {
  std::vector<float> weight, bias;
  LinearWeights weights;

  Int8Product(int outputs, int inputs, PostOp post)
      : weight(Random(static_cast<size_t>(outputs * inputs), 21)),
        bias(Random(static_cast<size_t>(outputs), 22)),
        weights{weight, bias, outputs, inputs, post} {}
};

std::vector<float> RunProduct(const KernelSet& kernels, const LinearWeights& weights, const Rows& a,
                              int rows) {
  Arena arena;
  const auto linear = MakeLinear(weights, {&kernels, GemmProvider::kOwn, &arena, Precision::kInt8});
  EXPECT_TRUE(linear.ok()) << linear.status().ToString();
  std::vector<float> y(static_cast<size_t>(rows * weights.outputs));
  (*linear)->Run(a, rows, y.data(), weights.outputs);
  return y;
}

// The sum is exact. Its conversion, two scales and the multiply-add cost 4 units of the terms; a post-op as
// much as in fp32 (|gelu'| <= 1.13).
TEST_P(Int8Test, ProductsMatchTheFormulaForEveryShapeAndPostOp) {
  const PostOp posts[] = {PostOp::kNone, PostOp::kGelu, PostOp::kGeluTanh, PostOp::kRelu, PostOp::kTanh};
  int turn = 0;
  for (int outputs : {1, 3, 8, 15, 16, 17, 33, 48, 1152}) {
    for (int inputs : {1, 7, 32, 63, 384, 385, 1536}) {
      const Int8Product p(outputs, inputs, posts[turn++ % 5]);
      const Int8Weights w = QuantizeWeights(p.weights);
      Coded x = Encode(*GetParam(), 19, inputs, Random(static_cast<size_t>(19 * inputs), 23));
      const std::vector<float> y = RunProduct(*GetParam(), p.weights, x.AsRows(), 19);
      for (int r = 0; r < 19; ++r) {
        for (int o = 0; o < outputs; ++o) {
          const size_t at = static_cast<size_t>(o);
          double sum = 0;
          for (int k = 0; k < inputs; ++k)
            sum += x.Value(r, k) * w.scales[at] *
                   w.codes[at * static_cast<size_t>(inputs) + static_cast<size_t>(k)];
          const double expected = ExactPostOp(p.weights.post, sum + p.bias[at]);
          const double tolerance = 1.13 * 4 * kUnit * (std::abs(sum) + std::abs(p.bias[at])) +
                                   12 * kUnit * std::abs(expected) + 5e-7 +
                                   CoarseError(p.weights.post, sum + p.bias[at]);
          ASSERT_NEAR(y[static_cast<size_t>(r * outputs + o)], expected, tolerance)
              << outputs << " x " << inputs << " row " << r << " column " << o;
        }
      }
    }
  }
}

// Largest codes against weights of one sign, the worst that a lane can meet.
TEST_P(Int8Test, TheLargestSumsNeitherSaturateNorOverflow) {
  for (int inputs : {16, 64, 384, 1536, 4096}) {
    const size_t k = static_cast<size_t>(inputs);
    std::vector<float> weight(4 * k, 1);
    for (size_t i = 0; i < k; ++i) {
      weight[k + i] = -1;
      weight[2 * k + i] = i % 4 < 2 ? 1.0F : -1.0F;
      weight[3 * k + i] = i % 16 < 2 ? 1.0F : 0.3F;
    }
    const std::vector<float> bias(4, 0);
    Coded x = Encode(*GetParam(), 2, inputs, std::vector<float>(2 * k, 5));
    const std::vector<float> y = RunProduct(*GetParam(), {weight, bias, 4, inputs}, x.AsRows(), 2);
    const double n = inputs;
    EXPECT_NEAR(y[0], 5 * n, 5 * n * 0.02) << inputs;
    EXPECT_NEAR(y[1], -5 * n, 5 * n * 0.02) << inputs;
    EXPECT_NEAR(y[2], 0, 5 * n * 0.02) << inputs;
    EXPECT_NEAR(y[3], 5 * n * (2 + 14 * 0.3) / 16, 5 * n * 0.02) << inputs;
  }
}

TEST_P(Int8Test, ARowIsBitEqualWhateverTheNumberOfRowsAndItsPlace) {
  const int step = RowStep(*GetParam());
  for (const auto& [outputs, inputs] : {std::pair{384, 384}, {100, 800}, {1536, 64}}) {
    const Int8Product p(outputs, inputs, PostOp::kGelu);
    Coded x = Encode(*GetParam(), 256, inputs, Random(static_cast<size_t>(256 * inputs), 23));
    Arena arena;
    const auto linear = MakeLinear(p.weights, {GetParam(), GemmProvider::kOwn, &arena, Precision::kInt8});
    ASSERT_TRUE(linear.ok());
    std::vector<float> all(static_cast<size_t>(256 * outputs)), some = all;
    (*linear)->Run(x.AsRows(), 256, all.data(), outputs);
    for (int rows = 1; rows <= 256; rows += step) {
      const int first = 256 - rows;
      (*linear)->Run(x.AsRows().From(first), rows, some.data(), outputs);
      ASSERT_EQ(std::memcmp(some.data(), all.data() + first * outputs,
                            static_cast<size_t>(rows * outputs) * sizeof(float)),
                0)
          << rows << " rows of " << outputs << " x " << inputs;
    }
  }
}

TEST_P(Int8Test, StridesAreHonouredAndNothingElseIsWritten) {
  const Int8Product p(20, 12, PostOp::kRelu);
  Coded x = Encode(*GetParam(), 9, 12, Random(9 * 12, 3));
  const std::vector<float> dense = RunProduct(*GetParam(), p.weights, x.AsRows(), 9);
  Arena arena;
  const auto linear = MakeLinear(p.weights, {GetParam(), GemmProvider::kOwn, &arena, Precision::kInt8});
  ASSERT_TRUE(linear.ok());
  std::vector<float> y(9 * 25, 77);
  (*linear)->Run(x.AsRows(), 9, y.data(), 25);
  for (size_t r = 0; r < 9; ++r) {
    EXPECT_EQ(std::memcmp(y.data() + r * 25, dense.data() + r * 20, 20 * sizeof(float)), 0) << r;
    for (size_t i = 20; i < 25; ++i) EXPECT_EQ(y[r * 25 + i], 77);
  }
}

// Exact sums and one formula after them: sets that make the same codes of a row differ in nothing.
TEST(Int8GemmTest, SetsOfOneArithmeticAgreeBitForBit) {
  int compared = 0;
  for (const auto& [outputs, inputs] : {std::pair{384, 384}, {100, 801}, {33, 1536}}) {
    const Int8Product p(outputs, inputs, PostOp::kGelu);
    std::map<int, std::vector<float>> results;  // by the bytes of a code
    for (const KernelSet* kernels : TestedSets()) {
      if (kernels == BuiltKernelSets().front()) continue;  // computes in double after the sum
      Coded x = Encode(*kernels, 37, inputs, Random(static_cast<size_t>(37 * inputs), 23));
      const std::vector<float> y = RunProduct(*kernels, p.weights, x.AsRows(), 37);
      const auto [at, first] = results.emplace(kernels->int8.code_bytes, y);
      if (first) continue;
      EXPECT_EQ(std::memcmp(y.data(), at->second.data(), y.size() * sizeof(float)), 0) << kernels->name;
      ++compared;
    }
  }
#if defined(RERANKD_EMULATED_SETS)
  EXPECT_TRUE(compared > 0 || !ChooseKernels("avx2").ok());
#endif
}

TEST(Int8WeightsTest, WeightsAreWithinHalfAStep) {
  const Int8Product p(40, 384, PostOp::kNone);
  const Int8Weights w = QuantizeWeights(p.weights);
  for (size_t o = 0; o < 40; ++o) {
    float largest = 0;
    for (size_t k = 0; k < 384; ++k) {
      largest = std::max(largest, std::abs(p.weight[o * 384 + k]));
      ASSERT_NEAR(w.scales[o] * w.codes[o * 384 + k], p.weight[o * 384 + k], w.scales[o] * 0.501);
    }
    EXPECT_FLOAT_EQ(w.scales[o], largest / 127);
  }
}

TEST(Int8WeightsTest, StoredCodesStayAsTheyAre) {
  std::vector<int8_t> codes(2 * 64);
  for (size_t k = 0; k < codes.size(); ++k) codes[k] = static_cast<int8_t>(k % 16 == 3 ? 127 : -(k % 7));
  const std::vector<float> scales = {0.5F, 0.25F}, bias(2);
  const Int8Weights w = QuantizeWeights(
      {.weight = {}, .bias = bias, .outputs = 2, .inputs = 64, .codes = codes, .scales = scales});
  EXPECT_EQ(w.codes, codes);
  EXPECT_EQ(w.scales, scales);
}

TEST_P(Int8Test, PeakCountsItsOperations) {
  const double once = GetParam()->int8_peak(1000);
  EXPECT_GE(once, 8000);
  EXPECT_EQ(GetParam()->int8_peak(3000), 3 * once);
}

TEST(Int8GemmTest, OneDnnIsRefusedNotReplaced) {
  const Int8Product p(4, 4, PostOp::kNone);
  Arena arena;
  const auto linear =
      MakeLinear(p.weights, {BuiltKernelSets().front(), GemmProvider::kOneDnn, &arena, Precision::kInt8});
  EXPECT_EQ(linear.status().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace rerankd
