// Products of bf16 with AVX512-BF16: vdpbf16ps adds two products, exact in themselves, to an fp32 lane, with
// twice the multiply-adds of fp32. Included before kernels_inl.h by a set that has them.
#pragma once

#include "kernels/kernel_set.h"

#define RERANKD_BF16

namespace rerankd::RERANKD_ISA {

// Rounded to bf16, nearest and ties to even: low, then high.
inline void StoreTwoBf16(unsigned char* to, Vec low, Vec high) {
  const auto words = _mm512_cvtne2ps_pbh(high.v, low.v);
  __builtin_memcpy(to, &words, sizeof(words));
}
inline void StoreBf16(unsigned char* to, const Vec (&x)[4]) {
  StoreTwoBf16(to, x[0], x[1]);
  StoreTwoBf16(to + 4 * kLanes, x[2], x[3]);
}
// The same, element i of `first` beside that of `second`.
inline void StorePairs(unsigned char* to, Vec first, Vec second) {
  const auto words = _mm512_cvtne2ps_pbh(second.v, first.v);
  __m512i pairs;
  __builtin_memcpy(&pairs, &words, sizeof(pairs));
#if defined(RERANKD_EMULATED)
  pairs = emulated::InterleaveHalves(pairs);
#else
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  pairs = _mm512_permutexvar_epi16(order, pairs);
#endif
  __builtin_memcpy(to, &pairs, sizeof(pairs));
}

// See MultiplyQuads: a quad is a pair of bf16.
struct Bf16Dot {
  using Sum = Vec;
  static constexpr int kProducts = 2;  // of a lane

  static Sum Start(int x) { return Set(static_cast<float>(x)); }
  static Vec Floats(Sum x) { return x; }

  // sums[v][i] += dot(quad, weights[v][2i, 2i + 1]): one row of a tile.
  static void Add(const unsigned char* quad, const IntVec (&weights)[kTileVecs], Sum (&sums)[kTileVecs]) {
    const IntVec x = BroadcastQuad(quad);
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
#if defined(RERANKD_EMULATED)
      sums[v] = {emulated::Bf16Dots(sums[v].v, x.v, weights[v].v)};
#else
      sums[v] = {_mm512_dpbf16_ps(sums[v].v, reinterpret_cast<__m512bh>(x.v),
                                  reinterpret_cast<__m512bh>(weights[v].v))};
#endif
    }
  }
};

#if !defined(RERANKD_AMX)
inline double Bf16Peak(long rounds) { return QuadPeak<Bf16Dot>(rounds); }
#endif

}  // namespace rerankd::RERANKD_ISA
