// Every kernel set that this machine runs, against the scalar reference in double precision.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "kernels/testing/kernel_sets.h"

namespace rerankd {
namespace {

const KernelSet& Scalar() { return *BuiltKernelSets().front(); }

bool BitEqual(const float* a, const float* b, size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

// kernel set x provider of products
struct Variant {
  const KernelSet* kernels;
  GemmProvider provider;
};

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  for (const KernelSet* kernels : TestedSets()) variants.push_back({kernels, GemmProvider::kOwn});
  const Result<const KernelSet*> best = ChooseKernels("");
  if (best.ok() && ChooseGemm("onednn", **best).ok()) variants.push_back({*best, GemmProvider::kOneDnn});
  return variants;
}

std::string VariantName(const Variant& v) {
  return std::string(v.kernels->name) + "_" + std::string(GemmProviderName(v.provider));
}

class KernelsTest : public testing::TestWithParam<const KernelSet*> {};
class GemmTest : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(Isa, KernelsTest, testing::ValuesIn(TestedSets()),
                         [](const auto& test) { return std::string(test.param->name); });
INSTANTIATE_TEST_SUITE_P(Isa, GemmTest, testing::ValuesIn(Variants()),
                         [](const auto& test) { return VariantName(test.param); });

TEST(DispatchTest, TheDefaultIsTheFastestSetThatRuns) {
  const Result<const KernelSet*> chosen = ChooseKernels("");
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen, RunningSets().back());
}

TEST(DispatchTest, AForcedSetIsThatSetOrAnErrorThatNamesTheWayOut) {
  for (const KernelSet* kernels : BuiltKernelSets()) {
    const Result<const KernelSet*> chosen = ChooseKernels(kernels->name);
    if (Runs(*kernels)) {
      ASSERT_TRUE(chosen.ok()) << chosen.status().ToString();
      EXPECT_EQ(*chosen, kernels);
    } else {
      ASSERT_FALSE(chosen.ok());
      EXPECT_EQ(chosen.status().code(), Code::kFailedPrecondition);
      EXPECT_THAT(chosen.status().message(), testing::HasSubstr("it can run: scalar"));
    }
  }
}

TEST(DispatchTest, AnUnknownSetIsAnError) {
  const Result<const KernelSet*> chosen = ChooseKernels("sse9");
  ASSERT_FALSE(chosen.ok());
  EXPECT_EQ(chosen.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(chosen.status().message(), testing::HasSubstr("sse9"));
}

TEST(DispatchTest, AnUnknownGemmProviderIsAnError) {
  EXPECT_EQ(ChooseGemm("mkl", Scalar()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ChooseGemm("onednn", Scalar()).status().code(), Code::kFailedPrecondition);
}

// Each value is also evaluated in double; `tolerance(x)` bounds the fp32 error at x.
template <typename Tolerance>
void ExpectPostOp(const KernelSet& kernels, PostOp op, const Tolerance& tolerance) {
  std::vector<float> x;
  for (float v = -12; v <= 12; v += 1.0F / 4096) x.push_back(v);
  for (float v = 1e-30F; v < 1e3F; v *= 1.37F) x.insert(x.end(), {v, -v});
  x.insert(x.end(), {0.0F, 1e30F, 3.9F, 5.5154328F});
  std::vector<float> y = x;
  kernels.post_op(op, y.data(), static_cast<long>(y.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(y[i], ExactPostOp(op, double{x[i]}), tolerance(double{x[i]})) << "x = " << x[i];
    if (x[i] != 0)
      worst = std::max(worst, std::abs(y[i] - ExactPostOp(op, double{x[i]})) / std::abs(double{x[i]}));
  }
  testing::Test::RecordProperty("worst_error_over_x_1e9", static_cast<int>(worst * 1e9));
}

// erf comes with at most 3 ulp of its fit and division; times x/2, plus the rounding of the sum: below
// 4 units of |x|. torch's own fp32 GELU has the same bound.
TEST_P(KernelsTest, GeluIsTheErfFormToFp32Rounding) {
  ExpectPostOp(*GetParam(), PostOp::kGelu, [](double x) { return 4 * kUnit * std::abs(x) + 1e-37; });
}

// exp(-2u) has 3 ulp at small u; |u| multiplies the rounding of u itself, but then the result is close to 0
// or x: below 8 units of |x|. (exp is clamped at e^-87: the result for large negative x is -1e-36, not 0.)
TEST_P(KernelsTest, GeluTanhIsTheTanhFormToFp32Rounding) {
  ExpectPostOp(*GetParam(), PostOp::kGeluTanh, [](double x) { return 8 * kUnit * std::abs(x) + 1e-30; });
}

TEST_P(KernelsTest, TanhIsWithinAFewUnits) {
  ExpectPostOp(*GetParam(), PostOp::kTanh, [](double) { return 5 * kUnit; });
}

TEST_P(KernelsTest, ReluIsExactAndNoneChangesNothing) {
  ExpectPostOp(*GetParam(), PostOp::kRelu, [](double) { return 0.0; });
  ExpectPostOp(*GetParam(), PostOp::kNone, [](double) { return 0.0; });
}

TEST_P(KernelsTest, PostOpsTouchNothingBehindTheEnd) {
  for (long count = 0; count < 40; ++count) {
    std::vector<float> values(static_cast<size_t>(count) + 1, 0.5F);
    values.back() = 77;
    GetParam()->post_op(PostOp::kGelu, values.data(), count);
    EXPECT_EQ(values.back(), 77) << count;
  }
}

// exp to 3 ulp and the rounding of its argument x - max, a sum of n terms of one sign in any order to n
// units, one division: (n + 8 + |x - max|) units of the result, and |x - max| <= -log(result).
TEST_P(KernelsTest, SoftmaxMatchesTheReferenceAndEndsWithItsRow) {
  for (int width = 1; width <= 130; ++width) {
    const size_t size = static_cast<size_t>(width) * 3;
    std::vector<float> x = Random(size + 1, 7, 6);
    x[0] += 40;
    std::vector<float> y = x, expected = x;
    GetParam()->softmax(y.data(), 3, width);
    Scalar().softmax(expected.data(), 3, width);
    for (size_t i = 0; i < size; ++i) {
      const float units = static_cast<float>(width + 8) - std::log(expected[i]);
      ASSERT_NEAR(y[i], expected[i], units * kUnit * expected[i] + 1e-37F);
    }
    EXPECT_EQ(y[size], x[size]);
  }
}

TEST_P(KernelsTest, SoftmaxSurvivesExtremeScores) {
  std::vector<float> row = {-1e30F, 1e30F, 0, 3e38F, -3e38F, 1, 2, 3, 4, 5};
  GetParam()->softmax(row.data(), 1, static_cast<int>(row.size()));
  EXPECT_FLOAT_EQ(row[3], 1);
  EXPECT_NEAR(row[1], 0, 1e-37);
}

// Mean and variance are sums of `width` terms; with |x - mean| / sigma below 6 the error stays below
// (width + 16) units of 6 |gamma|, in practice far below as errors do not line up.
TEST_P(KernelsTest, LayerNormMatchesTheReferenceForEveryWidth) {
  for (int width : {1, 2, 7, 8, 9, 15, 16, 17, 24, 32, 40, 100, 312, 384, 768}) {
    const int rows = 3;
    const size_t size = static_cast<size_t>(rows * width);
    const std::vector<float> x = Random(size, 1, 3), residual = Random(size, 2),
                             gamma = Random(static_cast<size_t>(width), 3),
                             beta = Random(static_cast<size_t>(width), 4);
    std::vector<float> y(size + 1, 77), expected(size);
    const auto run = [&](const KernelSet& kernels, std::vector<float>& out) {
      kernels.add_layer_norm(
          {x.data(), residual.data(), gamma.data(), beta.data(), out.data(), rows, width, 1e-5F, {}});
    };
    run(*GetParam(), y);
    run(Scalar(), expected);
    for (size_t i = 0; i < size; ++i) {
      const float scale = 6 * std::abs(gamma[i % static_cast<size_t>(width)]) + std::abs(expected[i]);
      ASSERT_NEAR(y[i], expected[i], static_cast<float>(width + 16) * kUnit * scale) << width << " " << i;
    }
    EXPECT_EQ(y[size], 77);
  }
}

TEST_P(KernelsTest, LayerNormInPlaceIsTheSame) {
  const int width = 40;
  std::vector<float> x = Random(width * 2, 1), residual = Random(width * 2, 2);
  const std::vector<float> gamma = Random(width, 3), beta = Random(width, 4);
  std::vector<float> out(width * 2);
  LayerNormArgs args = {x.data(), residual.data(), gamma.data(), beta.data(), out.data(),
                        2,        width,           1e-12F,       {}};
  GetParam()->add_layer_norm(args);
  args.out = x.data();
  GetParam()->add_layer_norm(args);
  EXPECT_TRUE(BitEqual(out.data(), x.data(), out.size()));
}

TEST_P(KernelsTest, EmbedGathersAddsAndNormalizes) {
  for (int width : {8, 20, 384}) {
    const size_t w = static_cast<size_t>(width);
    const std::vector<float> words = Random(50 * w, 1), types = Random(2 * w, 2),
                             positions = Random(9 * w, 3), gamma = Random(w, 4), beta = Random(w, 5);
    const std::vector<int> ids = {49, 0, 7, 7, 21};
    const std::vector<unsigned char> type_ids = {0, 0, 1, 1, 0};
    std::vector<float> y(5 * w), expected(5 * w);
    const auto run = [&](const KernelSet& kernels, std::vector<float>& out) {
      kernels.embed({ids.data(),
                     type_ids.data(),
                     {words.data(), nullptr, nullptr},
                     types.data(),
                     positions.data(),
                     gamma.data(),
                     beta.data(),
                     out.data(),
                     5,
                     width,
                     1e-12F,
                     {}});
    };
    run(*GetParam(), y);
    run(Scalar(), expected);
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i],
                  static_cast<float>(width + 16) * kUnit * (6 * std::abs(gamma[i % w]) + 1));
    EXPECT_FALSE(BitEqual(y.data() + 2 * w, y.data() + 3 * w, w)) << "equal ids, other position";
  }
}

TEST_P(KernelsTest, PeakCountsItsOperations) {
  const double once = GetParam()->peak(1000);
  EXPECT_GE(once, 8000);
  EXPECT_EQ(GetParam()->peak(3000), 3 * once);
}

struct AttentionCase {
  int queries, keys, heads, head_size;
};

// In bf16 where `rounded`.
std::vector<float> Attend(const KernelSet& kernels, const AttentionCase& c, const std::vector<float>& qkv,
                          bool rounded = false) {
  const int width = c.heads * c.head_size;
  Arena arena;
  std::vector<float> out(static_cast<size_t>(c.queries * width));
  const auto attention = rounded ? kernels.bf16_attention : kernels.attention;
  const auto needed = rounded ? kernels.bf16_attention_scratch : kernels.attention_scratch;
  const std::span<float> scratch = arena.Floats(static_cast<size_t>(needed(c.keys, c.head_size)) + 16);
  std::fill(scratch.begin(), scratch.end(), std::numeric_limits<float>::quiet_NaN());
  attention({qkv.data(), 3L * width, qkv.data() + width, qkv.data() + 2L * width, 3L * width, out.data(),
             width, scratch.data(), c.queries, c.keys, c.heads, c.head_size});
  EXPECT_TRUE(std::isnan(scratch[scratch.size() - 16])) << "behind the scratch";
  return out;
}

// A dot product over d terms of size about 0.3 errs by d units of its terms' sum (below 4 here), which exp
// turns into a relative error; the weighted mean of values adds (keys + 8) units of max |v|, about 5.
TEST_P(KernelsTest, AttentionMatchesTheReferenceForEveryHeadSizeAndLength) {
  for (int head_size : {8, 16, 24, 32, 40, 64, 80, 5}) {
    for (int keys : {1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 95, 130}) {
      const AttentionCase c = {keys, keys, 2, head_size};
      const std::vector<float> qkv = Random(static_cast<size_t>(keys * 6 * head_size), 11, 0.6F);
      const std::vector<float> y = Attend(*GetParam(), c, qkv);
      const std::vector<float> expected = Attend(Scalar(), c, qkv);
      const float tolerance = static_cast<float>(4 * head_size + keys + 8) * kUnit * 3;
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], expected[i], tolerance) << head_size << " " << keys;
    }
  }
}

TEST_P(KernelsTest, OneQueryOfAttentionIsBitEqualToTheSameQueryAmongMany) {
  AttentionCase c = {61, 61, 3, 32};
  const std::vector<float> qkv = Random(static_cast<size_t>(61 * 9 * 32), 12);
  const std::vector<float> all = Attend(*GetParam(), c, qkv);
  for (int queries = 1; queries < 61; ++queries) {
    c.queries = queries;
    const std::vector<float> some = Attend(*GetParam(), c, qkv);
    ASSERT_TRUE(BitEqual(some.data(), all.data(), some.size())) << queries;
  }
}

std::vector<const KernelSet*> Bf16AttentionSets() {
  std::vector<const KernelSet*> sets = TestedSets();
  std::erase_if(sets, [](const KernelSet* kernels) { return kernels->bf16_attention == nullptr; });
  return sets;
}

class Bf16AttentionTest : public testing::TestWithParam<const KernelSet*> {};

INSTANTIATE_TEST_SUITE_P(Isa, Bf16AttentionTest, testing::ValuesIn(Bf16AttentionSets()),
                         [](const auto& test) { return std::string(test.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Bf16AttentionTest);  // aarch64, and what lacks AVX2

// Rounding to bf16 (2^-9 of a value at most) of queries and keys changes a logit, whose terms are below 0.4
// each on average and err independently; that of weights and values changes a mean of values up to 3.
TEST_P(Bf16AttentionTest, MatchesTheReferenceWithinItsRounding) {
  constexpr float kRounding = 1.0F / 512;
  for (int head_size : {8, 16, 24, 32, 40, 64, 80, 5}) {
    for (int keys : {1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 95, 130}) {
      const AttentionCase c = {keys, keys, 2, head_size};
      const std::vector<float> qkv = Random(static_cast<size_t>(keys * 6 * head_size), 11, 0.6F);
      const std::vector<float> y = Attend(*GetParam(), c, qkv, true);
      const std::vector<float> expected = Attend(Scalar(), c, qkv);
      const float logit_error = 2 * kRounding * 0.4F * std::sqrt(static_cast<float>(head_size)) * 3;
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], expected[i], 3 * (logit_error + 2 * kRounding)) << head_size << " " << keys;
    }
  }
}

TEST_P(Bf16AttentionTest, OneQueryIsBitEqualToTheSameQueryAmongMany) {
  AttentionCase c = {61, 61, 3, 32};
  const std::vector<float> qkv = Random(static_cast<size_t>(61 * 9 * 32), 12);
  const std::vector<float> all = Attend(*GetParam(), c, qkv, true);
  for (int queries = 1; queries < 61; ++queries) {
    c.queries = queries;
    const std::vector<float> some = Attend(*GetParam(), c, qkv, true);
    ASSERT_TRUE(BitEqual(some.data(), all.data(), some.size())) << queries;
  }
}

struct Product {
  std::vector<float> weight, bias, x;
  LinearWeights weights;

  Product(int outputs, int inputs, int rows, PostOp post)
      : weight(Random(static_cast<size_t>(outputs * inputs), 21)),
        bias(Random(static_cast<size_t>(outputs), 22)),
        x(Random(static_cast<size_t>(rows * inputs), 23)),
        weights{weight, bias, outputs, inputs, post} {}
};

std::vector<float> RunProduct(const Variant& v, const Product& p, int first, int rows) {
  Arena arena;
  const auto linear = MakeLinear(p.weights, {v.kernels, v.provider, &arena});
  EXPECT_TRUE(linear.ok()) << linear.status().ToString();
  std::vector<float> y(static_cast<size_t>(rows * p.weights.outputs));
  if (linear.ok())
    (*linear)->Run({const_cast<float*>(p.x.data()) + first * p.weights.inputs, p.weights.inputs}, rows,
                   y.data(), p.weights.outputs);
  return y;
}

// A sum of k products in fp32 errs by at most (k + 2) units of sum |a b|; here sum |a b| is about 0.64 k for
// normal data and errors are random, so that (k + 2) units of 0.64 sqrt(k) x 6 (six sigma) already is
// generous.
float ProductTolerance(int k) {
  const float terms = static_cast<float>(k);
  return (terms + 2) * kUnit * 0.64F * 6 * std::sqrt(terms + 1);
}

TEST_P(GemmTest, MatchesTheReferenceForEveryShapeAndPostOp) {
  const PostOp posts[] = {PostOp::kNone, PostOp::kGelu, PostOp::kGeluTanh, PostOp::kRelu, PostOp::kTanh};
  int turn = 0;
  for (int outputs : {1, 3, 8, 15, 16, 17, 33, 48, 1152}) {
    for (int inputs : {1, 7, 32, 384, 385, 800}) {
      const Product p(outputs, inputs, 19, posts[turn++ % 5]);
      const std::vector<float> y = RunProduct(GetParam(), p, 0, 19);
      const std::vector<float> expected = RunProduct({&Scalar(), GemmProvider::kOwn}, p, 0, 19);
      // |gelu'| <= 1.13, and oneDNN's own gelu errs by some 1e-7 |x| more.
      for (size_t i = 0; i < y.size(); ++i) {
        const float tolerance = 1.13F * ProductTolerance(inputs) + 12 * kUnit * std::abs(expected[i]) + 5e-7F;
        ASSERT_NEAR(y[i], expected[i], tolerance) << outputs << " x " << inputs;
      }
    }
  }
}

TEST_P(GemmTest, ARowIsBitEqualWhateverTheNumberOfRowsAndItsPlace) {
  const int step = RowStep(*GetParam().kernels);
  for (const auto& [outputs, inputs] : {std::pair{384, 384}, {100, 800}, {1536, 64}}) {
    const Product p(outputs, inputs, 256, PostOp::kGelu);
    const std::vector<float> all = RunProduct(GetParam(), p, 0, 256);
    const size_t n = static_cast<size_t>(outputs);
    for (int rows = 1; rows <= 256; rows += step) {
      const int first = 256 - rows;
      const std::vector<float> some = RunProduct(GetParam(), p, first, rows);
      ASSERT_TRUE(BitEqual(some.data(), all.data() + static_cast<size_t>(first) * n, some.size()))
          << rows << " rows of " << outputs << " x " << inputs;
    }
  }
}

TEST_P(GemmTest, StridesAreHonouredAndNothingElseIsWritten) {
  const Product p(20, 12, 9, PostOp::kRelu);
  const std::vector<float> dense = RunProduct(GetParam(), p, 0, 9);
  Arena arena;
  const auto linear = MakeLinear(p.weights, {GetParam().kernels, GetParam().provider, &arena});
  ASSERT_TRUE(linear.ok());
  std::vector<float> wide(9 * 30, 5), y(9 * 25, 77);
  for (size_t r = 0; r < 9; ++r) std::copy_n(p.x.data() + r * 12, 12, wide.data() + r * 30);
  (*linear)->Run({wide.data(), 30}, 9, y.data(), 25);
  for (size_t r = 0; r < 9; ++r) {
    EXPECT_TRUE(BitEqual(y.data() + r * 25, dense.data() + r * 20, 20)) << r;
    for (size_t i = 20; i < 25; ++i) EXPECT_EQ(y[r * 25 + i], 77);
  }
}

TEST(BufferTest, PiecesAreAlignedZeroAndApart) {
  Arena arena;
  std::vector<std::span<float>> pieces;
  for (size_t count : {size_t{1}, size_t{17}, size_t{5'000'000}, size_t{20'000'000}, size_t{3}})
    pieces.push_back(arena.Floats(count));
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pieces[i].data()) % 64, 0U);
    for (float v : {pieces[i].front(), pieces[i].back()}) EXPECT_EQ(v, 0.0F);
    pieces[i].front() = pieces[i].back() = static_cast<float>(i + 1);
  }
  for (size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(pieces[i].back(), static_cast<float>(i + 1));
}

}  // namespace
}  // namespace rerankd
