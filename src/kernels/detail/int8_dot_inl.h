// Byte products with a dot-product instruction (AVX-512 VNNI, AVX-VNNI): four products of an unsigned and a
// signed byte are added to a 32-bit lane, exactly. So codes have all 8 bits and weights are never coarsened.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

constexpr Int8Traits kInt8 = {
    .panel_width = kPanel, .code_bytes = 1, .lowest_code = 0, .group = 4, .dot = true};

// Largest code of a row.
inline float CodeSteps(int /*width*/) { return 255.0F; }
inline void StoreCodes(unsigned char* to, const Vec (&x)[4]) { StoreBytes(to, x); }

// See MultiplyQuads.
struct ByteDot {
  using Sum = IntVec;
  static constexpr int kProducts = 4;  // of a lane

  static Sum Start(int x) { return SetInt(x); }
  static Vec Floats(Sum x) { return ToFloat(x); }

  // sums[v][i] += dot(quad, weights[v][4i .. 4i + 3]): one row of a tile. In assembler, because GCC 12 keeps
  // the sums of its intrinsic in memory (GCC bug 94663), at a third of the speed; spills_test.cmake looks at
  // the result. The intrinsic is for builds whose header emulates it (testing/emulate_avx512.h).
  static void Add(const unsigned char* quad, const IntVec (&weights)[kTileVecs], Sum (&sums)[kTileVecs]);
};

#if defined(RERANKD_EMULATED)
inline void ByteDot::Add(const unsigned char* quad, const IntVec (&weights)[kTileVecs],
                         Sum (&sums)[kTileVecs]) {
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
inline void ByteDot::Add(const unsigned char* quad, const IntVec (&weights)[kTileVecs],
                         Sum (&sums)[kTileVecs]) {
  static_assert(kTileVecs == 2);
  IntVec x;
  asm("vpbroadcastd %3, %2\n\t" RERANKD_DOTS " %4, %2, %0\n\t" RERANKD_DOTS " %5, %2, %1"
      : "+v"(sums[0].v), "+v"(sums[1].v), "=&v"(x.v)
      : "m"(*reinterpret_cast<const unsigned char(*)[4]>(quad)), "v"(weights[0].v), "v"(weights[1].v));
}
#endif

// acc[r] += a[r, 0..depth) * panel.
template <int kRows>
inline void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                          IntVec (&acc)[kRows][kTileVecs]) {
  MultiplyQuads<ByteDot>(a, stride, panel, depth / 4, acc);
}

#if !defined(RERANKD_AMX)
inline double Int8Peak(long rounds) { return QuadPeak<ByteDot>(rounds); }
#endif

}  // namespace rerankd::RERANKD_ISA
