// Softmax and attention. Keys are transposed into panels once per (pair, head), then scores and the weighted
// sum of values are the same register tiles as in gemm_inl.h: kTileRows queries at a time.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

inline float MaxOfRow(const float* row, int width) {
  Vec best = Set(-__builtin_inff());
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) best = Max(best, Load(row + i));
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    best = Max(best, Select(rest, LoadMasked(row + i, rest), best));
  }
  return MaxLanes(best);
}

// row = exp(row - max); returns the sum of the row.
inline float ExpRow(float* row, int width) {
  const Vec max = Set(MaxOfRow(row, width));
  Group sums = Each([](int) { return Zero(); });
  int i = 0;
  for (; i + kGroup * kLanes <= width; i += kGroup * kLanes) {
    const Group e = Exp(Sub(LoadGroup(row + i), max));
    StoreGroup(row + i, e);
    sums = Add(sums, e);
  }
  Vec sum = Add(Add(sums.v[0], sums.v[1]), Add(sums.v[2], sums.v[3]));
  for (; i + kLanes <= width; i += kLanes) {
    const Vec e = Exp(Sub(Load(row + i), max));
    Store(row + i, e);
    sum = Add(sum, e);
  }
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    const Vec e = Exp(Sub(LoadMasked(row + i, rest), max));
    StoreMasked(row + i, rest, e);
    sum = Add(sum, Select(rest, e, Zero()));
  }
  return SumLanes(sum);
}

inline void ScaleRow(float* row, int width, float by) {
  const Vec scale = Set(by);
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) Store(row + i, Mul(Load(row + i), scale));
  if (i < width) {
    const Mask rest = FirstLanes(width - i);
    StoreMasked(row + i, rest, Mul(LoadMasked(row + i, rest), scale));
  }
}

inline void Softmax(float* rows, int count, int width) {
  for (int r = 0; r < count; ++r, rows += width) ScaleRow(rows, width, 1.0F / ExpRow(rows, width));
}

// panels[p][d][j] = k[p * kPanel + j][d]; missing keys are zeros.
inline void PackKeys(const float* k, long stride, int keys, int head_size, float* panels) {
  const int whole_keys = keys / 8 * 8;
  const int whole_size = head_size / 8 * 8;
  const auto at = [&](int key, int d) {
    return panels + static_cast<long>(key / kPanel) * kPanel * head_size + d * kPanel + key % kPanel;
  };
  for (int key = 0; key < whole_keys; key += 8) {
    for (int d = 0; d < whole_size; d += 8) Transpose8(k + key * stride + d, stride, at(key, d), kPanel);
  }
  for (int key = 0; key < RoundUp(keys, kPanel); ++key) {
    for (int d = key < whole_keys ? whole_size : 0; d < head_size; ++d)
      *at(key, d) = key < keys ? k[key * stride + d] : 0.0F;
  }
}

// panels[p][key][j] = v[key][p * kPanel + j]; missing columns are zeros.
inline void PackValues(const float* v, long stride, int keys, int head_size, float* panels) {
  for (int column = 0; column < head_size; column += kPanel) {
    const int left = head_size - column;
    const Mask mask[kTileVecs] = {FirstLanes(left), FirstLanes(left - kLanes)};
    for (int key = 0; key < keys; ++key, panels += kPanel) {
      for (int i = 0; i < kTileVecs; ++i)
        Store(panels + i * kLanes, LoadMasked(v + key * stride + column + i * kLanes, mask[i]));
    }
  }
}

// c[r, 0 .. columns rounded up to kPanel) = a[r, 0..k) * panels.
template <int kRows>
inline void MultiplyPanels(const float* a, long lda, const float* panels, int k, int columns, float* c,
                           long ldc) {
  for (int column = 0; column < columns; column += kPanel, panels += static_cast<long>(k) * kPanel) {
    Vec acc[kRows][kTileVecs];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][0] = acc[r][1] = Zero();
    MultiplyTile<kRows>(a, lda, panels, k, acc);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Store(c + r * ldc + column, acc[r][0]);
      Store(c + r * ldc + column + kLanes, acc[r][1]);
    }
  }
}

struct HeadScratch {
  float* keys;    // panels
  float* values;  // panels
  float* scores;  // [kTileRows, keys rounded up]
  float* sums;    // [kTileRows, head size rounded up]
};

inline long AttentionScratch(int keys, int head_size) {
  const long padded_keys = RoundUp(keys, kPanel);
  const long padded_size = RoundUp(head_size, kPanel);
  return padded_keys * head_size + padded_size * keys + kTileRows * (padded_keys + padded_size);
}

template <int kRows>
inline void AttendTile(const AttentionArgs& g, const float* q, float* out, const HeadScratch& s) {
  const int score_stride = RoundUp(g.keys, kPanel);
  const int sum_stride = RoundUp(g.head_size, kPanel);
  float inverse[kRows];
  MultiplyPanels<kRows>(q, g.q_stride, s.keys, g.head_size, g.keys, s.scores, score_stride);
  for (int r = 0; r < kRows; ++r) inverse[r] = 1.0F / ExpRow(s.scores + r * score_stride, g.keys);
  MultiplyPanels<kRows>(s.scores, score_stride, s.values, g.keys, g.head_size, s.sums, sum_stride);
  for (int r = 0; r < kRows; ++r) {
    ScaleRow(s.sums + r * sum_stride, sum_stride, inverse[r]);
    __builtin_memcpy(out + r * g.out_stride, s.sums + r * sum_stride, sizeof(float) * g.head_size);
  }
}

inline void Attention(const AttentionArgs& g) {
  HeadScratch s;
  s.keys = g.scratch;
  s.values = s.keys + static_cast<long>(RoundUp(g.keys, kPanel)) * g.head_size;
  s.scores = s.values + static_cast<long>(RoundUp(g.head_size, kPanel)) * g.keys;
  s.sums = s.scores + kTileRows * RoundUp(g.keys, kPanel);
  for (int head = 0; head < g.heads; ++head) {
    const long column = static_cast<long>(head) * g.head_size;
    PackKeys(g.k + column, g.kv_stride, g.keys, g.head_size, s.keys);
    PackValues(g.v + column, g.kv_stride, g.keys, g.head_size, s.values);
    for (int row = 0; row < g.queries; row += kTileRows) {
      const int rows = g.queries - row < kTileRows ? g.queries - row : kTileRows;
      WithRows<kTileRows>(rows, [&]<int kRows>() {
        AttendTile<kRows>(g, g.q + row * g.q_stride + column, g.out + row * g.out_stride + column, s);
      });
    }
  }
}

}  // namespace rerankd::RERANKD_ISA
