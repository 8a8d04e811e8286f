// The inner loops of all products in AVX registers: a value of each row is broadcast and meets the vectors of
// a panel.
#pragma once

namespace rerankd::RERANKD_ISA {

// acc[r] += a[r, 0..k) * panel, one multiply-add per element and k, k ascending: the order that makes a row
// independent of its neighbours.
template <int kRows>
inline void MultiplyTile(const float* a, long lda, const float* panel, int k, Vec (&acc)[kRows][kTileVecs]) {
  for (int i = 0; i < k; ++i, ++a, panel += kPanel) {
    const Vec b0 = Load(panel);
    const Vec b1 = Load(panel + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec x = Broadcast(a + r * lda);
      acc[r][0] = Fma(x, b0, acc[r][0]);
      acc[r][1] = Fma(x, b1, acc[r][1]);
    }
  }
}

// acc[r] += a[r] * panel over `depth` groups of four bytes, multiplied and added up by Dot::Add: bytes
// (int8_dot_inl.h) or pairs of bf16 (bf16_dot_inl.h). The copy of acc is what stays in registers; a function
// of its own, or GCC makes room for what its callers keep.
template <typename Dot, int kRows>
[[gnu::noinline]] void MultiplyQuads(const unsigned char* a, long stride, const signed char* panel, int depth,
                                     typename Dot::Sum (&acc)[kRows][kTileVecs]) {
  typename Dot::Sum sum[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sum[r][0] = acc[r][0], sum[r][1] = acc[r][1];
  for (int k = 0; k < depth; ++k, a += 4, panel += 4 * kPanel) {
    const IntVec weights[kTileVecs] = {LoadInts(panel), LoadInts(panel + 4 * kLanes)};
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) Dot::Add(a + r * stride, weights, sum[r]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = sum[r][0], acc[r][1] = sum[r][1];
}

// The instructions of MultiplyQuads on registers (the quads stay in L1): see Peak. Returns the operations of
// Dot::kProducts multiply-adds a lane.
template <typename Dot>
inline double QuadPeak(long rounds) {
  constexpr int kChains = kTileRows;
  const unsigned char quad[4] = {1, 1, 1, 1};
  const IntVec weights[kTileVecs] = {SetInt(0x01010101), SetInt(0x01010101)};
  typename Dot::Sum sums[kChains][kTileVecs];
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) sums[c][0] = sums[c][1] = Dot::Start(c);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) Dot::Add(quad, weights, sums[c]);
  }
  Vec total = Zero();
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) total = Add(total, Add(Dot::Floats(sums[c][0]), Dot::Floats(sums[c][1])));
  volatile float keep = SumLanes(total);
  (void)keep;
  return static_cast<double>(rounds) * kChains * kTileVecs * Dot::kProducts * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
