// Included before every line of the AVX-VNNI and all AVX-512 kernel sets when they are built a second time,
// for the tests: SIMDe (and, where its version lacks one, a function below) computes with AVX2
// what their intrinsics would. Results are those of the instructions, bit for bit; only dot products of
// bytes, which the kernels write in assembler, are another line of their source.
#pragma once

#include <immintrin.h>
// First the compiler's own functions, then the names that replace them.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#define RERANKD_EMULATED

namespace rerankd::emulated {

inline __m256i Dots(__m256i sum, __m256i a, __m256i b) { return simde_mm256_dpbusd_epi32(sum, a, b); }
inline simde__m512i Dots(simde__m512i sum, simde__m512i a, simde__m512i b) {
  return simde_mm512_dpbusd_epi32(sum, a, b);
}

// One 512-bit register as two.
template <typename Half, typename Whole>
inline Half HalfOf(const Whole& x, int index) {
  Half half;
  __builtin_memcpy(&half, reinterpret_cast<const char*>(&x) + index * sizeof(half), sizeof(half));
  return half;
}
template <typename Whole, typename Half>
inline Whole Join(Half low, Half high) {
  Whole whole;
  __builtin_memcpy(&whole, &low, sizeof(low));
  __builtin_memcpy(reinterpret_cast<char*>(&whole) + sizeof(low), &high, sizeof(high));
  return whole;
}

inline simde__m512 LoadMasked(unsigned mask, const float* p) {
  float lanes[16] = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) lanes[i] = p[i];
  }
  return simde_mm512_loadu_ps(lanes);
}
inline void StoreMasked(float* p, unsigned mask, simde__m512 x) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, x);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) p[i] = lanes[i];
  }
}
inline simde__m512i ToInt(simde__m512 x) {
  return Join<simde__m512i>(_mm256_cvtps_epi32(HalfOf<__m256>(x, 0)),
                            _mm256_cvtps_epi32(HalfOf<__m256>(x, 1)));
}
inline simde__m512 ToFloat(simde__m512i x) {
  return Join<simde__m512>(_mm256_cvtepi32_ps(HalfOf<__m256i>(x, 0)),
                           _mm256_cvtepi32_ps(HalfOf<__m256i>(x, 1)));
}
inline simde__m512i WidenBytes(__m128i x) {
  return Join<simde__m512i>(_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)));
}
inline __m128i LowBytes(simde__m512i x) {
  int lanes[16];
  char bytes[16];
  __builtin_memcpy(lanes, &x, sizeof(lanes));
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<char>(lanes[i]);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}
inline __m256i LowWords(simde__m512i x) {
  int lanes[16];
  short words[16];
  __builtin_memcpy(lanes, &x, sizeof(lanes));
  for (int i = 0; i < 16; ++i) words[i] = static_cast<short>(lanes[i]);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}
// vdpbf16ps: the odd elements first, then the even ones; a product is exact before it is added.
inline __m256 Bf16Dots(__m256 sum, __m256i a, __m256i b) {
  const __m256i odd = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
  sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a, odd)),
                        _mm256_castsi256_ps(_mm256_and_si256(b, odd)), sum);
  return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)),
                         _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)), sum);
}
inline simde__m512 Bf16Dots(simde__m512 sum, simde__m512i a, simde__m512i b) {
  return Join<simde__m512>(Bf16Dots(HalfOf<__m256>(sum, 0), HalfOf<__m256i>(a, 0), HalfOf<__m256i>(b, 0)),
                           Bf16Dots(HalfOf<__m256>(sum, 1), HalfOf<__m256i>(a, 1), HalfOf<__m256i>(b, 1)));
}
// vcvtne2ps2bf16: nearest, ties to even. (Both instructions take subnormal numbers for zero; these here do
// not.)
inline simde__m512i ToBf16(simde__m512 high, simde__m512 low) {
  unsigned bits[32];
  unsigned short words[32];
  __builtin_memcpy(bits, &low, sizeof(low));
  __builtin_memcpy(bits + 16, &high, sizeof(high));
  for (int i = 0; i < 32; ++i)
    words[i] = static_cast<unsigned short>((bits[i] + 0x7FFFU + (bits[i] >> 16 & 1U)) >> 16);
  return simde_mm512_loadu_si512(words);
}
// Words 0, 16, 1, 17, …
inline simde__m512i InterleaveHalves(simde__m512i x) {
  unsigned short from[32], to[32];
  __builtin_memcpy(from, &x, sizeof(from));
  for (int i = 0; i < 16; ++i) to[2 * i] = from[i], to[2 * i + 1] = from[16 + i];
  return simde_mm512_loadu_si512(to);
}
// Halves are combined until one lane is left: the order in which GCC's sequence adds.
template <typename F>
inline float Reduce(simde__m512 x, const F& f) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, x);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = f(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}
inline float Sum(simde__m512 x) {
  return Reduce(x, [](float a, float b) { return a + b; });
}
inline float Max(simde__m512 x) {
  return Reduce(x, [](float a, float b) { return a > b ? a : b; });
}
inline float Min(simde__m512 x) {
  return Reduce(x, [](float a, float b) { return a < b ? a : b; });
}

// The tile registers of AMX, as detail/tiles_amx.h has them.
struct Tiles {
  unsigned char bytes[8][16][64];
  int rows[8];
};
inline thread_local Tiles tiles;

inline void ConfigureTiles(int rows, int first_weight_tile) {
  tiles = {};
  for (int i = 0; i < 8; ++i) tiles.rows[i] = i < first_weight_tile ? rows : 16;
}
inline void ReleaseTiles() { ConfigureTiles(0, 8); }
template <int kTile>
inline void ZeroTile() {
  __builtin_memset(tiles.bytes[kTile], 0, sizeof(tiles.bytes[kTile]));
}
template <int kTile>
inline void LoadTile(const void* from, long stride) {
  ZeroTile<kTile>();
  for (int i = 0; i < tiles.rows[kTile]; ++i)
    __builtin_memcpy(tiles.bytes[kTile][i], static_cast<const char*>(from) + i * stride, 64);
}
template <int kTile>
inline void StoreTileTo(void* to, long stride) {
  for (int i = 0; i < tiles.rows[kTile]; ++i)
    __builtin_memcpy(static_cast<char*>(to) + i * stride, tiles.bytes[kTile][i], 64);
}
template <int kSums, int kA, int kWeights>
inline void DotTilesBytes() {
  for (int i = 0; i < tiles.rows[kSums]; ++i) {
    __m256i sums[2];
    __builtin_memcpy(sums, tiles.bytes[kSums][i], sizeof(sums));
    for (int k = 0; k < tiles.rows[kWeights]; ++k) {
      int quad;
      __m256i weights[2];
      __builtin_memcpy(&quad, tiles.bytes[kA][i] + 4 * k, sizeof(quad));
      __builtin_memcpy(weights, tiles.bytes[kWeights][k], sizeof(weights));
      for (int half = 0; half < 2; ++half)
        sums[half] = Dots(sums[half], _mm256_set1_epi32(quad), weights[half]);
    }
    __builtin_memcpy(tiles.bytes[kSums][i], sums, sizeof(sums));
  }
}
// Sums of the even and of the odd elements of all pairs, which meet at the end (SDM, TDPBF16PS).
template <int kSums, int kA, int kWeights>
inline void DotTilesBf16() {
  const auto wide = [](const unsigned char* code) {
    unsigned short bits;
    __builtin_memcpy(&bits, code, sizeof(bits));
    const unsigned value = static_cast<unsigned>(bits) << 16;
    float x;
    __builtin_memcpy(&x, &value, sizeof(x));
    return x;
  };
  for (int i = 0; i < tiles.rows[kSums]; ++i) {
    for (int j = 0; j < 16; ++j) {
      float even = 0, odd = 0, sum;
      for (int k = 0; k < tiles.rows[kWeights]; ++k) {
        const unsigned char* const a = tiles.bytes[kA][i] + 4 * k;
        const unsigned char* const w = tiles.bytes[kWeights][k] + 4 * j;
        even = __builtin_fmaf(wide(a), wide(w), even);
        odd = __builtin_fmaf(wide(a + 2), wide(w + 2), odd);
      }
      __builtin_memcpy(&sum, tiles.bytes[kSums][i] + 4 * j, sizeof(sum));
      sum += even + odd;
      __builtin_memcpy(tiles.bytes[kSums][i] + 4 * j, &sum, sizeof(sum));
    }
  }
}

}  // namespace rerankd::emulated

// SIMDe 0.7.4 gives this name four parameters.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

#define _mm512_maskz_loadu_ps(mask, p) rerankd::emulated::LoadMasked(mask, p)
#define _mm512_mask_storeu_ps(p, mask, x) rerankd::emulated::StoreMasked(p, mask, x)
#define _mm512_cvtps_epi32(x) rerankd::emulated::ToInt(x)
#define _mm512_cvtepi32_ps(x) rerankd::emulated::ToFloat(x)
#define _mm512_cvtepi8_epi32(x) rerankd::emulated::WidenBytes(x)
#define _mm512_cvtepi32_epi16(x) rerankd::emulated::LowWords(x)
#define _mm512_cvtepi32_epi8(x) rerankd::emulated::LowBytes(x)
#define _mm512_cvtne2ps_pbh(high, low) rerankd::emulated::ToBf16(high, low)
#define _mm512_reduce_add_ps(x) rerankd::emulated::Sum(x)
#define _mm512_reduce_max_ps(x) rerankd::emulated::Max(x)
#define _mm512_reduce_min_ps(x) rerankd::emulated::Min(x)

// Their namespaces, and so the names of the sets, differ from those of the real ones.
#define avxvnni emulated_avxvnni
#define avx512 emulated_avx512
#define avx512vnni emulated_avx512vnni
#define avx512bf16 emulated_avx512bf16
#define avx512amx emulated_avx512amx
