// Product of bf16 rows against packed bf16 panels: sums in fp32, two products an instruction, in an order
// that depth alone fixes.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

template <int kRows>
inline void Bf16Tile(const Bf16GemmArgs& g, int row, int column, const signed char* panel, int pairs) {
  Vec acc[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = acc[r][1] = Zero();
  MultiplyQuads<Bf16Dot>(g.a.codes + row * g.a.stride, g.a.stride, panel, pairs, acc);
  const Vec bias[kTileVecs] = {Load(g.bias + column), Load(g.bias + column + kLanes)};
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    acc[r][0] = Add(acc[r][0], bias[0]);
    acc[r][1] = Add(acc[r][1], bias[1]);
  }
  const int left = g.n - column;
  StoreTile<kRows>(acc, {g.c + row * g.ldc + column, g.ldc, left < kPanel ? left : kPanel, g.post, true});
}

inline void Bf16Gemm(const Bf16GemmArgs& g) {
  const int pairs = RoundUp(g.k, kCodeAlignment) / kBf16Group;
  ForEachTile(g.m, g.n, g.panels, 4L * pairs * kPanel,
              [&]<int kRows>(int row, int column, const signed char* panel) {
                Bf16Tile<kRows>(g, row, column, panel, pairs);
              });
}

}  // namespace rerankd::RERANKD_ISA
