// The reference: the formulas as in the paper, sums in double, std functions. Slow, and the yardstick of
// every other kernel set.
#include "kernels/scalar/kernels_scalar.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace rerankd::scalar {
namespace {

constexpr int kPanel = 16;
constexpr Int8Traits kInt8 = {.panel_width = 16, .code_bytes = 1, .lowest_code = 0, .group = 4, .dot = false};
constexpr int kMaxCode = 255;

// Codes of a row or of a column with their padding.
int Padded(int width) { return (width + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment; }

double Post(PostOp op, double x) {
  switch (op) {
    case PostOp::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case PostOp::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case PostOp::kRelu:
      return std::max(x, 0.0);
    case PostOp::kTanh:
      return std::tanh(x);
    case PostOp::kNone:
      break;
  }
  return x;
}

void ApplyPostOp(PostOp op, float* values, long count) {
  for (long i = 0; i < count; ++i) values[i] = static_cast<float>(Post(op, values[i]));
}

void Gemm(const GemmArgs& g) {
  for (int i = 0; i < g.m; ++i) {
    for (int j = 0; j < g.n; ++j) {
      const float* w = g.panels + static_cast<long>(j / kPanel) * kPanel * g.k + j % kPanel;
      double sum = g.bias[j];
      for (int k = 0; k < g.k; ++k) sum += double{g.a[i * g.lda + k]} * w[static_cast<long>(k) * kPanel];
      g.c[i * g.ldc + j] = static_cast<float>(Post(g.post, sum));
    }
  }
}

void Int8Gemm(const Int8GemmArgs& g) {
  const int depth = Padded(g.k);
  for (int i = 0; i < g.m; ++i) {
    const unsigned char* a = g.a.codes + i * g.a.stride;
    for (int j = 0; j < g.n; ++j) {
      const signed char* w = g.panels + static_cast<long>(j / kPanel) * kPanel * depth + j % kPanel * 4L;
      int sum = -g.a.zeros[i] * g.sums[j];
      for (int k = 0; k < g.k; ++k) sum += a[k] * w[k / 4 * 4 * kPanel + k % 4];
      const double scale = double{g.a.scales[i]} * g.scales[j];
      g.c[i * g.ldc + j] = static_cast<float>(Post(g.post, sum * scale + g.bias[j]));
    }
  }
}

float FromBf16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// The nearest value with seven bits behind the point, ties to even.
uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t kept = bits >> 16, lost = bits & 0xFFFFU;
  const bool up = lost > 0x8000U || (lost == 0x8000U && kept % 2 == 1);
  return static_cast<uint16_t>(kept + (up ? 1 : 0));
}

void Bf16Gemm(const Bf16GemmArgs& g) {
  const int depth = Padded(g.k);
  std::vector<uint16_t> a(static_cast<size_t>(g.k));
  for (int i = 0; i < g.m; ++i) {
    std::memcpy(a.data(), g.a.codes + i * g.a.stride, a.size() * sizeof(uint16_t));
    for (int j = 0; j < g.n; ++j) {
      const uint16_t* w = g.panels + static_cast<long>(j / kPanel) * kPanel * depth + j % kPanel * 2L;
      double sum = g.bias[j];
      for (int k = 0; k < g.k; ++k)
        sum += double{FromBf16(a[static_cast<size_t>(k)])} * FromBf16(w[k / 2 * 2 * kPanel + k % 2]);
      g.c[i * g.ldc + j] = static_cast<float>(Post(g.post, sum));
    }
  }
}

void RoundRow(const float* row, int width, unsigned char* codes) {
  for (int i = 0; i < Padded(width); ++i) {
    const uint16_t code = i < width ? ToBf16(row[i]) : 0;
    std::memcpy(codes + 2L * i, &code, sizeof(code));
  }
}

void EncodeRow(const float* row, int width, const CodedRows& to, int index) {
  if (to.precision == Precision::kBf16) return RoundRow(row, width, to.codes + index * to.stride);
  const float low = std::min(0.0F, *std::min_element(row, row + width));
  const float high = std::max(0.0F, *std::max_element(row, row + width));
  const float scale = (high - low) / float{kMaxCode};
  const double inverse = scale > 0 ? 1.0 / scale : 0.0;
  const double zero = std::nearbyint(-low * inverse);
  to.scales[index] = scale;
  to.zeros[index] = static_cast<int>(zero);
  for (int i = 0; i < width; ++i) {
    const double code = std::nearbyint(row[i] * inverse + zero);
    to.codes[index * to.stride + i] = static_cast<unsigned char>(std::clamp(code, 0.0, double{kMaxCode}));
  }
}

void Encode(const EncodeArgs& g) {
  for (int r = 0; r < g.rows; ++r) EncodeRow(g.x + static_cast<long>(r) * g.width, g.width, g.coded, r);
}

void NormalizeRow(float* row, int width, const float* gamma, const float* beta, double epsilon) {
  double mean = 0;
  for (int i = 0; i < width; ++i) mean += row[i];
  mean /= width;
  double variance = 0;
  for (int i = 0; i < width; ++i) variance += (row[i] - mean) * (row[i] - mean);
  const double scale = 1 / std::sqrt(variance / width + epsilon);
  for (int i = 0; i < width; ++i) row[i] = static_cast<float>((row[i] - mean) * scale * gamma[i] + beta[i]);
}

void AddLayerNorm(const LayerNormArgs& g) {
  for (int r = 0; r < g.rows; ++r) {
    const long at = static_cast<long>(r) * g.width;
    for (int i = 0; i < g.width; ++i) g.out[at + i] = g.x[at + i] + g.residual[at + i];
    NormalizeRow(g.out + at, g.width, g.gamma, g.beta, g.epsilon);
    if (g.coded.codes != nullptr) EncodeRow(g.out + at, g.width, g.coded, r);
  }
}

void Embed(const EmbedArgs& g) {
  for (int t = 0; t < g.tokens; ++t) {
    const long at = static_cast<long>(g.ids[t]) * g.width;
    const float* type = g.types + static_cast<long>(g.type_ids[t]) * g.width;
    const float* position = g.positions + static_cast<long>(t) * g.width;
    float* out = g.out + static_cast<long>(t) * g.width;
    for (int i = 0; i < g.width; ++i) {
      const float word = g.words.values != nullptr
                             ? g.words.values[at + i]
                             : static_cast<float>(g.words.codes[at + i]) * g.words.scales[g.ids[t]];
      out[i] = word + type[i] + position[i];
    }
    NormalizeRow(out, g.width, g.gamma, g.beta, g.epsilon);
    if (g.coded.codes != nullptr) EncodeRow(out, g.width, g.coded, t);
  }
}

void Softmax(float* rows, int count, int width) {
  for (int r = 0; r < count; ++r, rows += width) {
    const double max = *std::max_element(rows, rows + width);
    double sum = 0;
    for (int i = 0; i < width; ++i) sum += std::exp(rows[i] - max);
    for (int i = 0; i < width; ++i) rows[i] = static_cast<float>(std::exp(rows[i] - max) / sum);
  }
}

long AttentionScratch(int keys, int /*head_size*/) { return keys; }

// One query of one head; q, k, v and out point at the head's first column.
void Attend(const AttentionArgs& g, const float* q, const float* k, const float* v, float* out) {
  float* scores = g.scratch;
  for (int j = 0; j < g.keys; ++j) {
    double dot = 0;
    for (int d = 0; d < g.head_size; ++d) dot += double{q[d]} * k[j * g.kv_stride + d];
    scores[j] = static_cast<float>(dot);
  }
  Softmax(scores, 1, g.keys);
  for (int d = 0; d < g.head_size; ++d) {
    double sum = 0;
    for (int j = 0; j < g.keys; ++j) sum += double{scores[j]} * v[j * g.kv_stride + d];
    out[d] = static_cast<float>(sum);
  }
}

void Attention(const AttentionArgs& g) {
  for (int head = 0; head < g.heads; ++head) {
    const long column = static_cast<long>(head) * g.head_size;
    for (int i = 0; i < g.queries; ++i) {
      Attend(g, g.q + i * g.q_stride + column, g.k + column, g.v + column, g.out + i * g.out_stride + column);
    }
  }
}

double Peak(long rounds) {
  double sums[4] = {0, 0, 0, 0};
  for (long i = 0; i < rounds; ++i) {
    for (double& sum : sums) sum = sum * 0.5 + 1;
  }
  volatile double keep = sums[0] + sums[1] + sums[2] + sums[3];
  (void)keep;
  return static_cast<double>(rounds) * 4 * 2;
}

}  // namespace

const KernelSet kKernels = {.name = "scalar",
                            .panel_width = kPanel,
                            .int8 = kInt8,
                            .gemm = Gemm,
                            .int8_gemm = Int8Gemm,
                            .encode = Encode,
                            .add_layer_norm = AddLayerNorm,
                            .embed = Embed,
                            .attention = Attention,
                            .attention_scratch = AttentionScratch,
                            .softmax = Softmax,
                            .post_op = ApplyPostOp,
                            .peak = Peak,
                            .int8_peak = Peak,
                            .bf16_gemm = Bf16Gemm,
                            .bf16_peak = Peak};

}  // namespace rerankd::scalar
