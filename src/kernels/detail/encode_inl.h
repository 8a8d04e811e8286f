// Rows as codes. int8: x = scale * (code - zero); the range of a row always contains 0, so that 0 has a code.
// bf16: each value rounded.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

struct Range {
  float low, high;
};

inline Range RangeOfRow(const float* row, int width) {
  Group low = Each([](int) { return Zero(); }), high = low;
  int i = 0;
  for (; i + kGroup * kLanes <= width; i += kGroup * kLanes) {
    const Group x = LoadGroup(row + i);
    low = Min(low, x);
    high = Max(high, x);
  }
  for (; i < width; i += kLanes) {  // lanes behind the end are 0
    const Vec x = LoadMasked(row + i, FirstLanes(width - i));
    low.v[0] = Min(low.v[0], x);
    high.v[0] = Max(high.v[0], x);
  }
  return {MinLanes(Min(Min(low.v[0], low.v[1]), Min(low.v[2], low.v[3]))),
          MaxLanes(Max(Max(high.v[0], high.v[1]), Max(high.v[2], high.v[3])))};
}

// Calls f(i, values i .. of the row) for every group of vectors. The last one may be longer than the row:
// zeros.
template <typename F>
inline void ForEachGroup(const float* row, int width, const F& f) {
  int i = 0;
  for (; i + kGroup * kLanes <= width; i += kGroup * kLanes) f(i, LoadGroup(row + i));
  if (i == width) return;
  f(i, Each([&](int v) {
      const int at = i + v * kLanes;
      return LoadMasked(at < width ? row + at : row, FirstLanes(width - at));
    }));
}

// The room of a row of codes ends with a whole group.
inline void EncodeRow(const float* row, int width, const CodedRows& to, int index) {
#if defined(RERANKD_BF16)
  if (to.precision == Precision::kBf16) {
    return ForEachGroup(
        row, width, [&](int i, const Group& x) { StoreBf16(to.codes + index * to.stride + 2L * i, x.v); });
  }
#endif
  const Range range = RangeOfRow(row, width);
  const float steps = CodeSteps(width);
  const float scale = kInt8.code_bytes == 1     ? (range.high - range.low) / steps
                      : range.high > -range.low ? range.high / steps
                                                : -range.low / steps;
  const float inverse = scale > 0 ? 1.0F / scale : 0.0F;
  const float zero = kInt8.code_bytes == 1 ? __builtin_rintf(-range.low * inverse) : 0.0F;
  to.scales[index] = scale;
  to.zeros[index] = static_cast<int>(zero) + kInt8.lowest_code;
  unsigned char* codes = to.codes + index * to.stride;
  ForEachGroup(row, width, [&](int i, const Group& x) {
    StoreCodes(codes + static_cast<long>(i) * kInt8.code_bytes, Fma(x, Set(inverse), Set(zero)).v);
  });
}

inline void Encode(const EncodeArgs& g) {
  for (int r = 0; r < g.rows; ++r) EncodeRow(g.x + static_cast<long>(r) * g.width, g.width, g.coded, r);
}

}  // namespace rerankd::RERANKD_ISA
