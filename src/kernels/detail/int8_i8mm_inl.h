// Byte products with smmla (I8MM): a pair of rows times a pair of columns over eight depths, 32 products of
// signed bytes an instruction, exactly. Codes are those of int8_neon_inl.h.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

constexpr Int8Traits kInt8 = {
    .panel_width = kPanel, .code_bytes = 1, .lowest_code = -128, .group = 8, .dot = true};

// Largest code of a row.
inline float CodeSteps(int /*width*/) { return 255.0F; }
inline void StoreCodes(unsigned char* to, const Vec (&x)[4]) { StoreSignedBytes(to, x); }

constexpr int kColumnPairs = kPanel / 2;

// Eight codes of two rows.
inline int8x16_t RowPair(const unsigned char* a, long stride) {
  return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(a), vld1_u8(a + stride)));
}

// acc[r] += a[r, 0..depth) * panel. The last row of an odd number is computed twice.
template <int kRows>
inline void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                          IntVec (&acc)[kRows][kTileVecs]) {
  constexpr int kRowPairs = (kRows + 1) / 2;
  int32x4_t sums[kRowPairs][kColumnPairs];  // [row, column], [row, column + 1], [row + 1, column], ...
#pragma GCC unroll 16
  for (int p = 0; p < kRowPairs; ++p) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumnPairs; ++c) sums[p][c] = vdupq_n_s32(0);
  }
  for (int k = 0; k < depth; k += 8, a += 8, panel += 8 * kPanel) {
    int8x16_t weights[kColumnPairs];
#pragma GCC unroll 4
    for (int c = 0; c < kColumnPairs; ++c) weights[c] = vld1q_s8(panel + c * 16);
#pragma GCC unroll 16
    for (int p = 0; p < kRowPairs; ++p) {
      const int8x16_t x = RowPair(a + 2 * p * stride, 2 * p + 1 < kRows ? stride : 0);
#pragma GCC unroll 4
      for (int c = 0; c < kColumnPairs; ++c) sums[p][c] = vmmlaq_s32(sums[p][c], x, weights[c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      const int32x4_t left = sums[r / 2][2 * v], right = sums[r / 2][2 * v + 1];
      const int32x4_t row = r % 2 == 0 ? vcombine_s32(vget_low_s32(left), vget_low_s32(right))
                                       : vcombine_s32(vget_high_s32(left), vget_high_s32(right));
      acc[r][v].v = vaddq_s32(acc[r][v].v, row);
    }
  }
}

// The instructions of MultiplyCodes on registers: see Peak.
inline double Int8Peak(long rounds) {
  constexpr int kChains = kTileRows / 2 * kColumnPairs;
  IntVec x = SetInt(0x01010101), weights = x, sums[kChains];
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) sums[c] = SetInt(c);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) {
      Hide(x);  // else the compiler could see that all products are equal
      sums[c].v = vmmlaq_s32(sums[c].v, vreinterpretq_s8_s32(x.v), vreinterpretq_s8_s32(weights.v));
    }
  }
  IntVec total = SetInt(0);
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) total = AddInts(total, sums[c]);
  volatile float keep = SumLanes(ToFloat(total));
  (void)keep;
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

}  // namespace rerankd::RERANKD_ISA
