// LayerNorm over rows, and the embedding gather that ends in one. While a row is in L1 its codes are written
// too.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

// Sum over row[0..width) of f(element), in kLanes partial sums.
template <typename F>
inline float SumRow(const float* row, int width, const F& f) {
  Vec sum = Zero();
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) sum = Add(sum, f(Load(row + i)));
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    sum = Add(sum, Select(rest, f(LoadMasked(row + i, rest)), Zero()));
  }
  return SumLanes(sum);
}

struct NormWeights {
  const float* gamma;
  const float* beta;
  float epsilon;
};

// In place. Two passes, as the variance of x - mean has no cancellation.
inline void NormalizeRow(float* row, int width, const NormWeights& w) {
  const float mean = SumRow(row, width, [](Vec x) { return x; }) / static_cast<float>(width);
  const Vec centre = Set(mean);
  const float variance = SumRow(row, width,
                                [&](Vec x) {
                                  const Vec d = Sub(x, centre);
                                  return Mul(d, d);
                                }) /
                         static_cast<float>(width);
  const Vec scale = Set(1.0F / __builtin_sqrtf(variance + w.epsilon));
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const Vec x = Mul(Sub(Load(row + i), centre), scale);
    Store(row + i, Fma(x, Load(w.gamma + i), Load(w.beta + i)));
  }
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    const Vec x = Mul(Sub(LoadMasked(row + i, rest), centre), scale);
    StoreMasked(row + i, rest, Fma(x, LoadMasked(w.gamma + i, rest), LoadMasked(w.beta + i, rest)));
  }
}

inline void AddRow(const float* a, const float* b, float* out, int width) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) Store(out + i, Add(Load(a + i), Load(b + i)));
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    StoreMasked(out + i, rest, Add(LoadMasked(a + i, rest), LoadMasked(b + i, rest)));
  }
}

inline void AddLayerNorm(const LayerNormArgs& g) {
  for (int r = 0; r < g.rows; ++r) {
    const long at = static_cast<long>(r) * g.width;
    AddRow(g.x + at, g.residual + at, g.out + at, g.width);
    NormalizeRow(g.out + at, g.width, {g.gamma, g.beta, g.epsilon});
    if (g.coded.codes != nullptr) EncodeRow(g.out + at, g.width, g.coded, r);
  }
}

inline void CopyEmbedding(const EmbeddingTable& table, int id, float* out, int width) {
  const long at = static_cast<long>(id) * width;
  if (table.values != nullptr) {
    __builtin_memcpy(out, table.values + at, sizeof(float) * width);
    return;
  }
  const Vec scale = Set(table.scales[id]);
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) Store(out + i, Mul(FromSignedBytes(table.codes + at + i), scale));
  for (; i < width; ++i) out[i] = static_cast<float>(table.codes[at + i]) * table.scales[id];
}

inline void Embed(const EmbedArgs& g) {
  for (int t = 0; t < g.tokens; ++t) {
    float* out = g.out + static_cast<long>(t) * g.width;
    CopyEmbedding(g.words, g.ids[t], out, g.width);
    AddRow(out, g.types + static_cast<long>(g.type_ids[t]) * g.width, out, g.width);
    AddRow(out, g.positions + static_cast<long>(t) * g.width, out, g.width);
    NormalizeRow(out, g.width, {g.gamma, g.beta, g.epsilon});
    if (g.coded.codes != nullptr) EncodeRow(out, g.width, g.coded, t);
  }
}

}  // namespace rerankd::RERANKD_ISA
