// Byte products in NEON. Codes have all 8 bits, as with VNNI, but are signed: what the instructions multiply
// are two signed bytes. With sdot (ASIMDDP) four products are added to a 32-bit lane. Without it smull makes
// 16-bit products, addp adds neighbours and sadalp adds neighbours to a 32-bit lane. That is exact: two
// products are at most 2 * 128 * 127 = 32,512, which int16 holds.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

#if defined(__ARM_FEATURE_DOTPROD)
constexpr bool kDot = true;
#else
constexpr bool kDot = false;
#endif
constexpr Int8Traits kInt8 = {
    .panel_width = kPanel, .code_bytes = 1, .lowest_code = -128, .group = 4, .dot = kDot};

// Largest code of a row.
inline float CodeSteps(int /*width*/) { return 255.0F; }
inline void StoreCodes(unsigned char* to, const Vec (&x)[4]) { StoreSignedBytes(to, x); }

// See MultiplySteps: a step is a quad of codes.
struct ByteOp {
  static constexpr bool kByLane = kDot;  // smull has no such form
  using In = IntVec;
  using Sum = IntVec;

  static IntVec Load(const unsigned char* p) { return LoadInts(p); }
  static IntVec LoadStep(const unsigned char* p) { return BroadcastQuad(p); }
  template <int kLane>
  [[gnu::always_inline]] static void Add(IntVec x, const IntVec (&weights)[kTileVecs],
                                         IntVec (&sums)[kTileVecs]) {
#if defined(__ARM_FEATURE_DOTPROD)
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v)
      sums[v].v =
          vdotq_laneq_s32(sums[v].v, vreinterpretq_s8_s32(weights[v].v), vreinterpretq_s8_s32(x.v), kLane);
#else
    const int8x16_t quad = vreinterpretq_s8_s32(x.v);
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      const int8x16_t w = vreinterpretq_s8_s32(weights[v].v);
      const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(quad)), high = vmull_high_s8(w, quad);
      sums[v].v = vpadalq_s16(sums[v].v, vpaddq_s16(low, high));
    }
#endif
  }
};

// acc[r] += a[r, 0..depth) * panel.
template <int kRows>
inline void MultiplyCodes(const unsigned char* a, long stride, const signed char* panel, int depth,
                          IntVec (&acc)[kRows][kTileVecs]) {
  MultiplySteps<ByteOp>(a, stride, reinterpret_cast<const unsigned char*>(panel), depth / 4, acc);
}

// The instructions of MultiplyCodes on registers: see Peak.
inline double Int8Peak(long rounds) {
  IntVec x = SetInt(0x01010101), weights[kTileVecs] = {x, x}, sums[kTileRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) sums[r][0] = sums[r][1] = SetInt(r);
  for (long i = 0; i < rounds; ++i) {
    Hide(x);  // else the compiler could see that all products are equal
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
      Hide(weights[0]);
      ByteOp::Add<0>(x, weights, sums[r]);
    }
  }
  IntVec total = SetInt(0);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) total = AddInts(total, AddInts(sums[r][0], sums[r][1]));
  volatile float keep = SumLanes(ToFloat(total));
  (void)keep;
  return static_cast<double>(rounds) * kTileRows * kTileVecs * 4 * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
