// Byte products with a dot-product instruction (AVX-512 VNNI, AVX-VNNI): four products of an unsigned and a
// signed byte are added to a 32-bit lane, exactly. So codes have all 8 bits and weights are never coarsened.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

constexpr Int8Traits kInt8 = {.panel_width = kTileVecs * kLanes, .code_bytes = 1, .group = 4, .dot = true};

// Largest code of a row.
inline float CodeSteps(int /*width*/) { return 255.0F; }
inline void StoreCodes(unsigned char* to, const Vec (&x)[4]) { StoreBytes(to, x); }

// sums[v][i] += dot(quad, weights[v][4i .. 4i + 3]): one row of a tile. In assembler, because GCC 12 keeps
// the sums of its intrinsic in memory (GCC bug 94663), at a third of the speed; spills_test.cmake looks at
// the result. The intrinsic is for builds whose header emulates it (testing/emulate_avx512.h).
#if defined(RERANKD_EMULATED)
inline void AddDots(const unsigned char* quad, const IntVec (&weights)[kTileVecs],
                    IntVec (&sums)[kTileVecs]) {
  const IntVec x = BroadcastQuad(quad);
  for (int v = 0; v < kTileVecs; ++v) sums[v] = {emulated::Dots(sums[v].v, x.v, weights[v].v)};
}
#else
#if defined(__AVX512VNNI__)
#define RERANKD_DOTS "vpdpbusd"
#elif defined(__AVXVNNI__)
#define RERANKD_DOTS "%{vex%} vpdpbusd"
#else
#error "the flags of this file name no instruction for dot products of bytes"
#endif
inline void AddDots(const unsigned char* quad, const IntVec (&weights)[kTileVecs],
                    IntVec (&sums)[kTileVecs]) {
  static_assert(kTileVecs == 2);
  IntVec x;
  asm("vpbroadcastd %3, %2\n\t" RERANKD_DOTS " %4, %2, %0\n\t" RERANKD_DOTS " %5, %2, %1"
      : "+v"(sums[0].v), "+v"(sums[1].v), "=&v"(x.v)
      : "m"(*reinterpret_cast<const unsigned char(*)[4]>(quad)), "v"(weights[0].v), "v"(weights[1].v));
}
#endif

// acc[r] += a[r, 0..depth) * panel. The copy of acc is what stays in registers; a function of its own, or GCC
// makes room for what its callers keep.
template <int kRows>
[[gnu::noinline]] void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                                     IntVec (&acc)[kRows][kTileVecs]) {
  IntVec sum[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sum[r][0] = acc[r][0], sum[r][1] = acc[r][1];
  for (int k = 0; k < depth; k += 4, a += 4, panel += 8 * kLanes) {
    const IntVec weights[kTileVecs] = {LoadInts(panel), LoadInts(panel + 4 * kLanes)};
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) AddDots(a + r * stride, weights, sum[r]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = sum[r][0], acc[r][1] = sum[r][1];
}

// The instructions of MultiplyCodes on registers (the quad stays in L1): see Peak.
inline double Int8Peak(long rounds) {
  constexpr int kChains = 6;
  const unsigned char quad[4] = {1, 1, 1, 1};
  const IntVec weights[kTileVecs] = {SetInt(0x01010101), SetInt(0x01010101)};
  IntVec sums[kChains][kTileVecs];
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) sums[c][0] = sums[c][1] = SetInt(c);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int c = 0; c < kChains; ++c) AddDots(quad, weights, sums[c]);
  }
  IntVec total = SetInt(0);
#pragma GCC unroll 8
  for (int c = 0; c < kChains; ++c) total = AddInts(total, AddInts(sums[c][0], sums[c][1]));
  volatile float keep = SumLanes(ToFloat(total));
  (void)keep;
  return static_cast<double>(rounds) * kChains * kTileVecs * 4 * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
