// Product of codes against packed int8 panels: MultiplyCodes (of an int8_*_inl.h) adds up a tile
// exactly in int32, the epilogue scales it, adds the bias and applies the post-op.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

// c = post(scale of the row * scale of the column * sum + bias). Sums start at -zero * (sum of the column's
// weights), which takes the zero point out again.
template <int kRows>
inline void Int8Tile(const Int8GemmArgs& g, int row, int column, const signed char* panel, int depth) {
  IntVec acc[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const IntVec zero = SetInt(-g.a.zeros[row + r]);
    acc[r][0] = MulInts(zero, LoadInts(g.sums + column));
    acc[r][1] = MulInts(zero, LoadInts(g.sums + column + kLanes));
  }
  MultiplyCodes<kRows>(g.a.codes + row * g.a.stride, g.a.stride, panel, depth, acc);
  Vec tile[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Vec scale = Set(g.a.scales[row + r]);
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      const int at = column + v * kLanes;
      tile[r][v] = Fma(ToFloat(acc[r][v]), Mul(scale, Load(g.scales + at)), Load(g.bias + at));
    }
  }
  const int left = g.n - column;
  StoreTile<kRows>(tile, {g.c + row * g.ldc + column, g.ldc, left < kPanel ? left : kPanel, g.post, true});
}

inline void Int8Gemm(const Int8GemmArgs& g) {
  const int depth = RoundUp(g.k, kCodeAlignment);
  ForEachTile(g.m, g.n, g.panels, static_cast<long>(depth) * kPanel,
              [&]<int kRows>(int row, int column, const signed char* panel) {
                Int8Tile<kRows>(g, row, column, panel, depth);
              });
}

}  // namespace rerankd::RERANKD_ISA
