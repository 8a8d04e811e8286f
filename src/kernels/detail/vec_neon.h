// Four fp32 lanes, the Advanced SIMD of every aarch64 CPU.
#pragma once

#include <arm_neon.h>

namespace rerankd::RERANKD_ISA {

constexpr int kLanes = 4;
constexpr int kTileRows =
    8;  // 8 x 2 accumulators + 8 x four values of a row + 4 weights = 28 of 32 registers
constexpr int kTileVecs = 2;
constexpr int kPanel = kTileVecs * kLanes;

struct Vec {
  float32x4_t v;
};
struct Mask {
  uint32x4_t m;
  int count;
};

inline Mask FirstLanes(int count) {
  const int32x4_t lane = {0, 1, 2, 3};
  return {vcgtq_s32(vdupq_n_s32(count), lane), count < kLanes ? count : kLanes};
}
inline Vec Zero() { return {vdupq_n_f32(0)}; }
inline Vec Set(float x) { return {vdupq_n_f32(x)}; }
inline Vec Load(const float* p) { return {vld1q_f32(p)}; }
inline Vec Broadcast(const float* p) { return {vld1q_dup_f32(p)}; }
inline void Store(float* p, Vec x) { vst1q_f32(p, x.v); }
// There are no masked loads and stores.
inline Vec LoadMasked(const float* p, Mask mask) {
  float lanes[kLanes] = {0, 0, 0, 0};
  for (int i = 0; i < mask.count; ++i) lanes[i] = p[i];
  return Load(lanes);
}
inline void StoreMasked(float* p, Mask mask, Vec x) {
  float lanes[kLanes];
  Store(lanes, x);
  for (int i = 0; i < mask.count; ++i) p[i] = lanes[i];
}
inline Vec Select(Mask mask, Vec yes, Vec no) { return {vbslq_f32(mask.m, yes.v, no.v)}; }
inline Vec Add(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {vminq_f32(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {vmaxq_f32(a.v, b.v)}; }
inline Vec Fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec Round(Vec x) { return {vrndnq_f32(x.v)}; }
// 2^n for whole n in [-126, 127].
inline Vec Exp2Int(Vec n) {
  const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127));
  return {vreinterpretq_f32_s32(vshlq_n_s32(biased, 23))};
}
inline float SumLanes(Vec x) { return vaddvq_f32(x.v); }
inline float MaxLanes(Vec x) { return vmaxvq_f32(x.v); }
inline float MinLanes(Vec x) { return vminvq_f32(x.v); }

struct IntVec {  // four int32 or sixteen bytes
  int32x4_t v;
};

inline IntVec SetInt(int x) { return {vdupq_n_s32(x)}; }
inline IntVec LoadInts(const void* p) {
  return {vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p)))};
}
// Four bytes, in every lane.
inline IntVec BroadcastQuad(const unsigned char* p) {
  int quad;
  __builtin_memcpy(&quad, p, sizeof(quad));
  return SetInt(quad);
}
inline IntVec AddInts(IntVec a, IntVec b) { return {vaddq_s32(a.v, b.v)}; }
inline IntVec MulInts(IntVec a, IntVec b) { return {vmulq_s32(a.v, b.v)}; }
inline Vec ToFloat(IntVec x) { return {vcvtq_f32_s32(x.v)}; }
inline Vec FromSignedBytes(const signed char* p) {
  int quad;
  __builtin_memcpy(&quad, p, sizeof(quad));
  const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(quad));
  return ToFloat({vmovl_s16(vget_low_s16(vmovl_s8(bytes)))});
}
// Rounded to whole numbers, cut to 0 .. 255, less 128: 4 x kLanes int8.
inline void StoreSignedBytes(unsigned char* to, const Vec (&x)[4]) {
  const auto words = [&](int i) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x[i].v)), vqmovn_s32(vcvtnq_s32_f32(x[i + 1].v)));
  };
  const uint8x16_t bytes = vcombine_u8(vqmovun_s16(words(0)), vqmovun_s16(words(2)));
  vst1q_u8(to, veorq_u8(bytes, vdupq_n_u8(128)));
}

// The compiler has to take the value for unknown from here on.
inline void Hide(Vec& x) { asm volatile("" : "+w"(x.v)); }
inline void Hide(IntVec& x) { asm volatile("" : "+w"(x.v)); }

// to[j * to_stride + i] = from[i * from_stride + j] for i, j < 4.
inline void Transpose4(const float* from, long from_stride, float* to, long to_stride) {
  const float32x4x2_t low = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + from_stride));
  const float32x4x2_t high = vtrnq_f32(vld1q_f32(from + 2 * from_stride), vld1q_f32(from + 3 * from_stride));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    vst1q_f32(to + i * to_stride, vcombine_f32(vget_low_f32(low.val[i]), vget_low_f32(high.val[i])));
    vst1q_f32(to + (i + 2) * to_stride, vcombine_f32(vget_high_f32(low.val[i]), vget_high_f32(high.val[i])));
  }
}

// The same for i, j < 8.
inline void Transpose8(const float* from, long from_stride, float* to, long to_stride) {
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 8; j += 4)
      Transpose4(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
  }
}

}  // namespace rerankd::RERANKD_ISA
