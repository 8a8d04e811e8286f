// Eight fp32 lanes, AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include "kernels/detail/transpose8_inl.h"

namespace rerankd::RERANKD_ISA {

constexpr int kLanes = 8;
constexpr int kTileRows = 6;  // 6 x 2 accumulators + 2 weights + 1 broadcast = 15 of 16 registers
constexpr int kTileVecs = 2;
constexpr int kPanel = kTileVecs * kLanes;

struct Vec {
  __m256 v;
};
struct Mask {
  __m256i m;
  int count;
};

inline Mask FirstLanes(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), count < kLanes ? count : kLanes};
}
inline Vec Zero() { return {_mm256_setzero_ps()}; }
inline Vec Set(float x) { return {_mm256_set1_ps(x)}; }
inline Vec Load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline Vec Broadcast(const float* p) { return {_mm256_broadcast_ss(p)}; }
inline void Store(float* p, Vec x) { _mm256_storeu_ps(p, x.v); }
inline Vec LoadMasked(const float* p, Mask mask) { return {_mm256_maskload_ps(p, mask.m)}; }
// Not vmaskmovps: AMD cores run its stores from microcode, some 100 cycles each.
inline void StoreMasked(float* p, Mask mask, Vec x) {
  float lanes[kLanes];
  _mm256_storeu_ps(lanes, x.v);
  for (int i = 0; i < mask.count; ++i) p[i] = lanes[i];
}
inline Vec Select(Mask mask, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(mask.m))};
}
inline Vec Add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Round(Vec x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for whole n in [-126, 127].
inline Vec Exp2Int(Vec n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
inline float SumLanes(Vec x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float MaxLanes(Vec x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline float MinLanes(Vec x) { return -MaxLanes(Sub(Zero(), x)); }

struct IntVec {  // eight int32, sixteen int16 or thirty-two bytes
  __m256i v;
};

inline IntVec SetInt(int x) { return {_mm256_set1_epi32(x)}; }
inline IntVec LoadInts(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
// Four bytes, in every lane.
inline IntVec BroadcastQuad(const unsigned char* p) {
  int quad;
  __builtin_memcpy(&quad, p, sizeof(quad));
  return SetInt(quad);
}
inline IntVec AddInts(IntVec a, IntVec b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline IntVec MulInts(IntVec a, IntVec b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
inline Vec ToFloat(IntVec x) { return {_mm256_cvtepi32_ps(x.v)}; }
// Signed bytes as words, and products of words, neighbours added.
inline IntVec WidenBytes(const signed char* p) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline IntVec MulWordPairs(IntVec a, IntVec b) { return {_mm256_madd_epi16(a.v, b.v)}; }
inline Vec FromSignedBytes(const signed char* p) {
  return ToFloat({_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))});
}
// Rounded to whole numbers, cut to 0 .. 255, 4 x kLanes bytes.
inline void StoreBytes(unsigned char* to, const Vec (&x)[4]) {
  const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0].v), _mm256_cvtps_epi32(x[1].v));
  const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2].v), _mm256_cvtps_epi32(x[3].v));
  const __m256i bytes = _mm256_packus_epi16(low, high);
  // Packing works on 128-bit halves: four bytes here, four there.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(bytes, order));
}
// Rounded to whole numbers, which int16 holds.
inline void StoreWords(unsigned char* to, const Vec (&x)[4]) {
  for (int i = 0; i < 4; i += 2) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x[i].v), _mm256_cvtps_epi32(x[i + 1].v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * kLanes * 2),
                        _mm256_permute4x64_epi64(words, 0xD8));
  }
}

// The compiler has to take the value for unknown from here on.
inline void Hide(Vec& x) { asm volatile("" : "+x"(x.v)); }
inline void Hide(IntVec& x) { asm volatile("" : "+x"(x.v)); }

}  // namespace rerankd::RERANKD_ISA
