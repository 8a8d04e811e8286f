// An 8 x 8 transposition in AVX registers: how keys become panels (attention_inl.h).
#pragma once

#include <immintrin.h>

namespace rerankd::RERANKD_ISA {

// to[j * to_stride + i] = from[i * from_stride + j] for i, j < 8.
inline void Transpose8(const float* from, long from_stride, float* to, long to_stride) {
  __m256 half[8];  // rows i and i + 4, four columns at a time
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const float* low = from + i * from_stride;
    const float* high = low + 4 * from_stride;
    half[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
    half[i + 4] =
        _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4)), _mm_loadu_ps(high + 4), 1);
  }
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {  // columns 4h .. 4h + 3
    const __m256 a = _mm256_unpacklo_ps(half[4 * h], half[4 * h + 1]);
    const __m256 b = _mm256_unpackhi_ps(half[4 * h], half[4 * h + 1]);
    const __m256 c = _mm256_unpacklo_ps(half[4 * h + 2], half[4 * h + 3]);
    const __m256 d = _mm256_unpackhi_ps(half[4 * h + 2], half[4 * h + 3]);
    float* out = to + 4 * h * to_stride;
    _mm256_storeu_ps(out, _mm256_shuffle_ps(a, c, _MM_SHUFFLE(1, 0, 1, 0)));
    _mm256_storeu_ps(out + to_stride, _mm256_shuffle_ps(a, c, _MM_SHUFFLE(3, 2, 3, 2)));
    _mm256_storeu_ps(out + 2 * to_stride, _mm256_shuffle_ps(b, d, _MM_SHUFFLE(1, 0, 1, 0)));
    _mm256_storeu_ps(out + 3 * to_stride, _mm256_shuffle_ps(b, d, _MM_SHUFFLE(3, 2, 3, 2)));
  }
}

}  // namespace rerankd::RERANKD_ISA
