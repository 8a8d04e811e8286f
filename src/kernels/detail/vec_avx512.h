// Sixteen fp32 lanes, AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include "kernels/detail/transpose8_inl.h"

namespace rerankd::RERANKD_ISA {

constexpr int kLanes = 16;
constexpr int kTileRows = 14;  // 14 x 2 accumulators + 2 weights + 1 broadcast = 31 of 32 registers
constexpr int kTileVecs = 2;
constexpr int kPanel = kTileVecs * kLanes;

struct Vec {
  __m512 v;
};
struct Mask {
  __mmask16 m;
};

inline Mask FirstLanes(int count) {
  return {static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1U << (count < 0 ? 0 : count)) - 1U)};
}
inline Vec Zero() { return {_mm512_setzero_ps()}; }
inline Vec Set(float x) { return {_mm512_set1_ps(x)}; }
inline Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec Broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
inline void Store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
inline Vec LoadMasked(const float* p, Mask mask) { return {_mm512_maskz_loadu_ps(mask.m, p)}; }
inline void StoreMasked(float* p, Mask mask, Vec x) { _mm512_mask_storeu_ps(p, mask.m, x.v); }
inline Vec Select(Mask mask, Vec yes, Vec no) { return {_mm512_mask_blend_ps(mask.m, no.v, yes.v)}; }
inline Vec Add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec Sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec Mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec Div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec Round(Vec x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for whole n in [-126, 127].
inline Vec Exp2Int(Vec n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
inline float SumLanes(Vec x) { return _mm512_reduce_add_ps(x.v); }
inline float MaxLanes(Vec x) { return _mm512_reduce_max_ps(x.v); }
inline float MinLanes(Vec x) { return _mm512_reduce_min_ps(x.v); }

struct IntVec {  // sixteen int32, thirty-two int16 or sixty-four bytes
  __m512i v;
};

inline IntVec SetInt(int x) { return {_mm512_set1_epi32(x)}; }
inline IntVec LoadInts(const void* p) { return {_mm512_loadu_si512(p)}; }
// Four bytes, in every lane.
inline IntVec BroadcastQuad(const unsigned char* p) {
  int quad;
  __builtin_memcpy(&quad, p, sizeof(quad));
  return SetInt(quad);
}
inline IntVec AddInts(IntVec a, IntVec b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline IntVec MulInts(IntVec a, IntVec b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline Vec ToFloat(IntVec x) { return {_mm512_cvtepi32_ps(x.v)}; }
// Signed bytes as words, and products of words, neighbours added.
inline IntVec WidenBytes(const signed char* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline IntVec MulWordPairs(IntVec a, IntVec b) { return {_mm512_madd_epi16(a.v, b.v)}; }
inline Vec FromSignedBytes(const signed char* p) {
  return ToFloat({_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))});
}
// Rounded to whole numbers, cut to 0 .. 255, 4 x kLanes bytes.
inline void StoreBytes(unsigned char* to, const Vec (&x)[4]) {
  for (int i = 0; i < 4; ++i) {
    const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(x[i].v), _mm512_setzero_si512());
    const __m512i cut = _mm512_min_epi32(whole, _mm512_set1_epi32(255));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * kLanes), _mm512_cvtepi32_epi8(cut));
  }
}
// Rounded to whole numbers, which int16 holds.
inline void StoreWords(unsigned char* to, const Vec (&x)[4]) {
  for (int i = 0; i < 4; ++i)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * kLanes * 2),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x[i].v)));
}

// The compiler has to take the value for unknown from here on.
#if defined(RERANKD_EMULATED)
inline void Hide(Vec& x) { asm volatile("" : "+m"(x.v)); }
inline void Hide(IntVec& x) { asm volatile("" : "+m"(x.v)); }
#else
inline void Hide(Vec& x) { asm volatile("" : "+v"(x.v)); }
inline void Hide(IntVec& x) { asm volatile("" : "+v"(x.v)); }
#endif

}  // namespace rerankd::RERANKD_ISA
