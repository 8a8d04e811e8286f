// Products of bf16 with AVX512-BF16: vdpbf16ps adds two products, exact in themselves, to an fp32 lane, with
// twice the multiply-adds of fp32. Included before kernels_inl.h by a set that has them.
#pragma once

#include "kernels/kernel_set.h"

#define RERANKD_BF16

namespace rerankd::RERANKD_ISA {

// Rounded to bf16, nearest and ties to even.
inline void StoreBf16(unsigned char* to, const Vec (&x)[4]) {
  for (int i = 0; i < 4; i += 2) {
    const auto words = _mm512_cvtne2ps_pbh(x[i + 1].v, x[i].v);  // the second one is the lower half
    __builtin_memcpy(to + i * kLanes * 2, &words, sizeof(words));
  }
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

inline double Bf16Peak(long rounds) { return QuadPeak<Bf16Dot>(rounds); }

}  // namespace rerankd::RERANKD_ISA
