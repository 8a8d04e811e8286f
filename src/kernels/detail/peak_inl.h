// What the machine can do at most: multiply-adds on registers alone.
#pragma once

namespace rerankd::RERANKD_ISA {

// As many independent chains as a tile has sums, and the same form of the instruction.
inline double Peak(long rounds) {
  constexpr int kChains = kTileRows * kTileVecs;
  Vec sums[kChains];
#pragma GCC unroll 32
  for (int c = 0; c < kChains; ++c) sums[c] = Zero();
  Vec half = Set(0.5F), one = Set(1.0F);
  Hide(half);
  Hide(one);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) sums[c] = Fma(half, one, sums[c]);
      // Else the compiler could see that all chains are the same one.
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) Hide(sums[c]);
  }
  Vec total = Zero();
#pragma GCC unroll 32
  for (int c = 0; c < kChains; ++c) total = Add(total, sums[c]);
  volatile float keep = SumLanes(total);
  (void)keep;
  return static_cast<double>(rounds) * kChains * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
