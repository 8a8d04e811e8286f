// Product of codes against packed int8 panels: MultiplyCodes (int8_dot_inl.h or int8_words_inl.h) adds up a
// tile exactly in int32, the epilogue scales it, adds the bias and applies the post-op.
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
  StoreTile<kRows>(tile, {g.c + row * g.ldc + column, g.ldc, left < kPanel ? left : kPanel, g.post});
}

// A row block times every panel; the next panel is fetched meanwhile, as in gemm_inl.h.
inline void Int8Block(const Int8GemmArgs& g, int row, int rows, int depth) {
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  const long bytes = static_cast<long>(depth) * kPanel;
  const long ahead = ((bytes + tiles - 1) / tiles + 63) / 64 * 64;
  for (int column = 0; column < g.n; column += kPanel) {
    const signed char* panel = g.panels + static_cast<long>(column) * depth;
    const signed char* next = panel + bytes;
    for (int r = row; r < row + rows; r += kTileRows, next += ahead) {
      if (g.n - column > kPanel) Prefetch(next, ahead);
      WithRows<kTileRows>(row + rows - r < kTileRows ? row + rows - r : kTileRows,
                          [&]<int kRows>() { Int8Tile<kRows>(g, r, column, panel, depth); });
    }
  }
}

inline void Int8Gemm(const Int8GemmArgs& g) {
  if (g.m == 0) return;
  const int depth = (g.k + kInt8.group - 1) / kInt8.group * kInt8.group;
  const int row_step = PartSize(g.m, kMaxRows, kTileRows);
  for (int row = 0; row < g.m; row += row_step)
    Int8Block(g, row, g.m - row < row_step ? g.m - row : row_step, depth);
}

}  // namespace rerankd::RERANKD_ISA
