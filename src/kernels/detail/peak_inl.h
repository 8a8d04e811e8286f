// What the machine can do at most: multiply-adds on registers alone.
#pragma once

namespace rerankd::RERANKD_ISA {

// 12 independent chains: two units with a latency of 4 to 5 cycles need 8 to 10.
inline double Peak(long rounds) {
  constexpr int kChains = 12;
  Vec sums[kChains];
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) sums[c] = Zero();
  const Vec half = Set(0.5F), one = Set(1.0F);
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) sums[c] = Fma(sums[c], half, one);
      // Else the compiler could see that all chains are the same one.
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) Hide(sums[c]);
  }
  Vec total = Zero();
#pragma GCC unroll 16
  for (int c = 0; c < kChains; ++c) total = Add(total, sums[c]);
  volatile float keep = SumLanes(total);
  (void)keep;
  return static_cast<double>(rounds) * kChains * kLanes * 2;
}

}  // namespace rerankd::RERANKD_ISA
