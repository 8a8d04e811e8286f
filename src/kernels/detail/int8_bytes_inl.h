// Exact byte products without a dot-product instruction. MulBytePairs (vpmaddubsw) saturates at int16; codes
// have 7 bits and weights are quantised so that no lane can leave the range of int16 over the products that
// it sums up (LanesHold in int8_weights.h). So two instructions add up in 16 bits before one widens to 32.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

constexpr int kMaxCode = 127;
constexpr int kQuads = 2;  // added up in 16 bits; four would be faster but coarsen four fifths of all rows
constexpr int kInt8DepthStep = 4 * kQuads;
constexpr int kInt8TileRows = 6;
constexpr Int8Traits kInt8 = {kTileVecs * kLanes, kInt8DepthStep, kMaxCode, 2 * kQuads, false};

// Rows of acc, in registers all the way: kRows x 2 sums, as many 16-bit ones, two weights, one code.
template <int kRows>
inline void MultiplyCodesInRegisters(const unsigned char* a, long stride, const signed char* panel, int depth,
                                     IntVec (*acc)[kTileVecs]) {
  IntVec sum[kRows][kTileVecs];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sum[r][0] = acc[r][0], sum[r][1] = acc[r][1];
  for (int k = 0; k < depth; k += kInt8DepthStep, a += kInt8DepthStep) {
    IntVec words[kRows][kTileVecs];
#pragma GCC unroll 4
    for (int q = 0; q < kQuads; ++q, panel += 8 * kLanes) {
      const IntVec b0 = LoadInts(panel), b1 = LoadInts(panel + 4 * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const IntVec x = BroadcastQuad(a + r * stride + 4 * q);
        const IntVec p0 = MulBytePairs(x, b0), p1 = MulBytePairs(x, b1);
        words[r][0] = q == 0 ? p0 : AddWords(words[r][0], p0);
        words[r][1] = q == 0 ? p1 : AddWords(words[r][1], p1);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = AddInts(sum[r][0], AddWordPairs(words[r][0]));
      sum[r][1] = AddInts(sum[r][1], AddWordPairs(words[r][1]));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) acc[r][0] = sum[r][0], acc[r][1] = sum[r][1];
}

// acc[r] += a[r, 0..depth) * panel. Three rows fill the registers.
template <int kRows>
inline void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                          IntVec (&acc)[kRows][kTileVecs]) {
  constexpr int kFirst = kRows < 3 ? kRows : 3;
  MultiplyCodesInRegisters<kFirst>(a, stride, panel, depth, acc);
  if constexpr (kRows > kFirst)
    MultiplyCodesInRegisters<kRows - kFirst>(a + kFirst * stride, stride, panel, depth, acc + kFirst);
}

// The instructions of MultiplyCodes on registers: see Peak.
inline double Int8Peak(long rounds) {
  constexpr int kChains = 6;
  IntVec sums[kChains], x = SetInt(0x01010101);
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) sums[c] = SetInt(0);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) {
      IntVec words = MulBytePairs(x, x);
#pragma GCC unroll 4
      for (int q = 1; q < kQuads; ++q) {
        Hide(x);  // else the compiler could see that all products are equal
        words = AddWords(words, MulBytePairs(x, x));
      }
      sums[c] = AddInts(sums[c], AddWordPairs(words));
    }
  }
  IntVec total = SetInt(0);
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) total = AddInts(total, sums[c]);
  volatile float keep = SumLanes(ToFloat(total));
  (void)keep;
  return static_cast<double>(rounds) * kChains * kQuads * 4 * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
