// Attention whose two products are of bf16, on tile registers: softmax and sums are fp32. Queries,
// keys, values and weights of the softmax are rounded; keys and values are packed as weights of a product
// are, once per (pair, head).
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

// A row of fp32 rounded, with zeros up to a whole number of panels' columns.
inline void RoundRow(const float* row, int width, unsigned char* to) {
  for (int i = 0; i < width; i += 2 * kLanes) {
    const Vec low = LoadMasked(row + i, FirstLanes(width - i));
    const Vec high =
        i + kLanes < width ? LoadMasked(row + i + kLanes, FirstLanes(width - i - kLanes)) : Zero();
    StoreTwoBf16(to + 2L * i, low, high);
  }
}

// panels[p][d / 2][j][2] = k[p * kPanel + j][d ..]: a pair of neighbours is moved as one fp32 is.
inline void PackBf16Keys(const float* k, long stride, int keys, int head_size, unsigned char* rounded,
                         float* panels) {
  const int depth = RoundUp(head_size, kPanel);
  for (int key = 0; key < keys; ++key) RoundRow(k + key * stride, head_size, rounded + 2L * key * depth);
  PackKeys(reinterpret_cast<const float*>(rounded), depth / 2, keys, depth / 2, panels);
}

// panels[p][key / 2][j][2] = v[key ..][p * kPanel + j], zero for missing keys and columns.
inline void PackBf16Values(const float* v, long stride, int keys, int head_size, unsigned char* panels) {
  for (int column = 0; column < head_size; column += kPanel) {
    for (int key = 0; key < RoundUp(keys, kPanel); key += 2) {
      for (int i = 0; i < kTileVecs; ++i, panels += kLanes * 4) {
        const int at = column + i * kLanes;
        const Mask mask = FirstLanes(at < head_size ? head_size - at : 0);
        const float* from = v + key * stride + (at < head_size ? at : 0);
        StorePairs(panels, key < keys ? LoadMasked(from, mask) : Zero(),
                   key + 1 < keys ? LoadMasked(from + stride, mask) : Zero());
      }
    }
  }
}

// weights = exp(scores - max) in bf16, zero behind the keys; returns their sum before rounding.
inline float RoundedExpRow(const float* scores, int keys, unsigned char* weights) {
  const Vec max = Set(MaxOfRow(scores, keys));
  Vec sums[2] = {Zero(), Zero()};
  int i = 0;
  for (; i + 2 * kLanes <= keys; i += 2 * kLanes) {
    const Vec low = Exp(Sub(Load(scores + i), max)), high = Exp(Sub(Load(scores + i + kLanes), max));
    sums[0] = Add(sums[0], low);
    sums[1] = Add(sums[1], high);
    StoreTwoBf16(weights + 2L * i, low, high);
  }
  if (i < keys) {
    Vec last[2];
    for (int v = 0; v < 2; ++v) {
      const Mask rest = FirstLanes(keys - i - v * kLanes);
      last[v] = Select(rest, Exp(Sub(Load(scores + i + v * kLanes), max)), Zero());
      sums[v] = Add(sums[v], last[v]);
    }
    StoreTwoBf16(weights + 2L * i, last[0], last[1]);
  }
  return SumLanes(Add(sums[0], sums[1]));
}

// Parts of the scratch, as offsets in floats: rows of `keys` and of `size` elements, both padded to whole
// panels, so that every part is a whole number of cache lines.
struct Bf16Scratch {
  long keys, size;
  long values;   // panels of values; those of keys come first, at 0
  long rounded;  // keys [keys, size], then queries [kBf16Rows, size], in bf16
  long weights;  // [kBf16Rows, keys], in bf16
  long scores;   // [kBf16Rows, keys]
  long sums;     // [kBf16Rows, size]
  long end;
};

inline Bf16Scratch CutBf16Scratch(int keys, int head_size) {
  Bf16Scratch s;
  s.keys = RoundUp(keys, kPanel);
  s.size = RoundUp(head_size, kPanel);
  s.values = s.keys * s.size / 2;
  s.rounded = 2 * s.values;
  s.weights = s.rounded + (s.keys > kBf16Rows ? s.keys : kBf16Rows) * s.size / 2;
  s.scores = s.weights + kBf16Rows * s.keys / 2;
  s.sums = s.scores + kBf16Rows * s.keys;
  s.end = s.sums + kBf16Rows * s.size;
  return s;
}

inline long Bf16AttentionScratch(int keys, int head_size) { return CutBf16Scratch(keys, head_size).end; }

inline unsigned char* Bytes(float* p) { return reinterpret_cast<unsigned char*>(p); }

// Some queries of one head, at most kBf16Rows.
inline void AttendBf16(const AttentionArgs& g, const float* q, float* out, int queries) {
  const Bf16Scratch s = CutBf16Scratch(g.keys, g.head_size);
  unsigned char* const rounded = Bytes(g.scratch + s.rounded);
  unsigned char* const weights = Bytes(g.scratch + s.weights);
  float* const scores = g.scratch + s.scores;
  float* const sums = g.scratch + s.sums;
  for (int r = 0; r < queries; ++r) RoundRow(q + r * g.q_stride, g.head_size, rounded + 2 * r * s.size);
  MultiplyBf16(rounded, queries, g.scratch, static_cast<int>(s.size), static_cast<int>(s.keys), scores);
  float inverse[kBf16Rows];
  for (int r = 0; r < queries; ++r)
    inverse[r] = 1.0F / RoundedExpRow(scores + r * s.keys, g.keys, weights + 2 * r * s.keys);
  MultiplyBf16(weights, queries, g.scratch + s.values, static_cast<int>(s.keys), static_cast<int>(s.size),
               sums);
  for (int r = 0; r < queries; ++r) {
    const Vec scale = Set(inverse[r]);
    for (int i = 0; i < g.head_size; i += kLanes)
      StoreMasked(out + r * g.out_stride + i, FirstLanes(g.head_size - i),
                  Mul(Load(sums + r * s.size + i), scale));
  }
}

inline void Bf16Attention(const AttentionArgs& g) {
  const Bf16Scratch s = CutBf16Scratch(g.keys, g.head_size);
  const Bf16Products products;
  for (int head = 0; head < g.heads; ++head) {
    const long column = static_cast<long>(head) * g.head_size;
    PackBf16Keys(g.k + column, g.kv_stride, g.keys, g.head_size, Bytes(g.scratch + s.rounded), g.scratch);
    PackBf16Values(g.v + column, g.kv_stride, g.keys, g.head_size, Bytes(g.scratch + s.values));
    for (int row = 0; row < g.queries; row += kBf16Rows) {
      const int rows = g.queries - row < kBf16Rows ? g.queries - row : kBf16Rows;
      AttendBf16(g, g.q + row * g.q_stride + column, g.out + row * g.out_stride + column, rows);
    }
  }
}

}  // namespace rerankd::RERANKD_ISA
