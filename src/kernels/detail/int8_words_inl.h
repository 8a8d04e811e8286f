// Int8 weights without an instruction for dot products of bytes. vpmaddubsw, which multiplies bytes,
// saturates at 16 bits: codes of 7 bits and coarser weights would keep it from that, and change the ranking
// (docs/engine.md). So codes have 16 bits: vpmaddwd adds their products up in 32 bits without loss, at twice
// the rate of fp32. Weights stay bytes in memory and are widened as they are loaded.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

constexpr Int8Traits kInt8 = {
    .panel_width = kPanel, .code_bytes = 2, .lowest_code = 0, .group = 2, .dot = false};

// Largest code of a row.
inline float CodeSteps(int width) {
  const int most = kWideSum / width;
  return static_cast<float>(most < 32767 ? most : 32767);
}
inline void StoreCodes(unsigned char* to, const Vec (&x)[4]) { StoreWords(to, x); }

// acc[r] += a[r, 0..depth) * panel. The copy of acc is what stays in registers; a function of its own, or GCC
// makes room for what its callers keep.
template <int kRows>
[[gnu::noinline]] void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                                     IntVec (&acc)[kRows][kTileVecs]) {
  IntVec sum[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sum[r][0] = acc[r][0], sum[r][1] = acc[r][1];
  for (int k = 0; k < depth; k += 2, a += 4, panel += 4 * kLanes) {
    const IntVec w0 = WidenBytes(panel), w1 = WidenBytes(panel + 2 * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const IntVec x = BroadcastQuad(a + r * stride);
      sum[r][0] = AddInts(sum[r][0], MulWordPairs(x, w0));
      sum[r][1] = AddInts(sum[r][1], MulWordPairs(x, w1));
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = sum[r][0], acc[r][1] = sum[r][1];
}

// The instructions of MultiplyCodes on registers: see Peak.
inline double Int8Peak(long rounds) {
  constexpr int kChains = 6;  // the latency is that of one addition
  IntVec sums[kChains], x = SetInt(0x00010001);
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) sums[c] = SetInt(c);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) {
      Hide(x);  // else the compiler could see that all products are equal
      sums[c] = AddInts(sums[c], MulWordPairs(x, x));
    }
  }
  IntVec total = SetInt(0);
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) total = AddInts(total, sums[c]);
  volatile float keep = SumLanes(ToFloat(total));
  (void)keep;
  return static_cast<double>(rounds) * kChains * 2 * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
