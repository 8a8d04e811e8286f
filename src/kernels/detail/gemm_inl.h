// Matrix product against packed panels: kTileRows rows x one panel of kPanel columns at a time, all of it in
// registers (MultiplyTile). Rows of `a` are read in place, a panel is read front to back.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

inline int RoundUp(int x, int to) { return (x + to - 1) / to * to; }

// Calls f.template operator()<rows>() for the run-time `rows` in [1, kMax].
template <int kMax, typename F>
inline void WithRows(int rows, const F& f) {
  if constexpr (kMax > 1) {
    if (rows < kMax) return WithRows<kMax - 1>(rows, f);
  }
  f.template operator()<kMax>();
}

// Where a finished tile goes: `columns` of its panel are valid.
struct TileTarget {
  float* c;
  long ldc;
  int columns;
  PostOp post;
  bool coarse = false;  // after a product of int8 or bf16
};

template <int kRows>
inline void StoreTile(const Vec (&x)[kRows][kTileVecs], const TileTarget& t) {
  const bool whole = t.columns == kPanel;
  if (whole && t.post == PostOp::kNone) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Store(t.c + r * t.ldc, x[r][0]);
      Store(t.c + r * t.ldc + kLanes, x[r][1]);
    }
    return;
  }
  // Through memory, so that the post-op's code exists once; it stays in L1 and the divisions overlap.
  float tile[kRows * kPanel];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    Store(tile + r * kPanel, x[r][0]);
    Store(tile + r * kPanel + kLanes, x[r][1]);
  }
  if (t.post != PostOp::kNone)
    t.coarse ? ApplyCoarsePostOp(t.post, tile, kRows * kPanel) : ApplyPostOp(t.post, tile, kRows * kPanel);
  const Mask mask[kTileVecs] = {FirstLanes(t.columns), FirstLanes(t.columns - kLanes)};
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kTileVecs; ++v) {
      const Vec y = Load(tile + r * kPanel + v * kLanes);
      float* to = t.c + r * t.ldc + v * kLanes;
      whole ? Store(to, y) : StoreMasked(to, mask[v], y);
    }
  }
}

// One tile of the product over k0 .. k0 + k of a block of k: starts from zero or from what c holds, and ends
// with bias and post-op after the last block.
struct TileSpan {
  int columns;  // valid ones of the panel
  bool first, last;
};

template <int kRows>
inline void GemmTile(const GemmArgs& g, const float* a, const float* panel, int k, const float* bias,
                     float* c, TileSpan span) {
  Vec acc[kRows][kTileVecs];
  const Mask mask[kTileVecs] = {FirstLanes(span.columns), FirstLanes(span.columns - kLanes)};
  const bool whole = span.columns == kPanel;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v) {
      const float* from = c + r * g.ldc + v * kLanes;
      acc[r][v] = span.first ? Zero() : whole ? Load(from) : LoadMasked(from, mask[v]);
    }
  }
  MultiplyTile<kRows>(a, g.lda, panel, k, acc);
  if (span.last) {
    const Vec b[kTileVecs] = {Load(bias), Load(bias + kLanes)};
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r][0] = Add(acc[r][0], b[0]);
      acc[r][1] = Add(acc[r][1], b[1]);
    }
  }
  StoreTile<kRows>(acc, {c, g.ldc, span.columns, span.last ? g.post : PostOp::kNone});
}

// Blocking. A block of a panel (24 KB) stays in L1 while the rows of a row block pass by; the row block's
// part of `a` and, where k has several blocks, its part of c (193 KB each at 384 columns) stay in L2. Weights
// are streamed once a row block.
constexpr int kMaxDepth = 384;
constexpr int kMaxRows = 126;  // a multiple of 6 and of 14

// The largest equal parts of `total` that are at most `most`, rounded up to `multiple`.
inline int PartSize(int total, int most, int multiple) {
  const int parts = (total + most - 1) / most;
  return ((total + parts - 1) / parts + multiple - 1) / multiple * multiple;
}

// Brings `bytes` bytes towards L2. Harmless beyond the end of the weights.
inline void Prefetch(const void* from, long bytes) {
  for (long i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i, 0, 2);
}

// A row block times one depth block of every panel. A model's weights exceed the caches, so while a panel is
// in use the next one is fetched, an equal part before each tile: without that its first tile waits for
// memory.
inline void GemmBlock(const GemmArgs& g, int row, int rows, int k0, int depth) {
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  const int ahead = ((depth * kPanel + tiles - 1) / tiles + 15) / 16 * 16;
  for (int column = 0; column < g.n; column += kPanel) {
    const float* panel = g.panels + static_cast<long>(column) * g.k + static_cast<long>(k0) * kPanel;
    const float* next = panel + static_cast<long>(g.k) * kPanel;
    const int left = g.n - column;
    const TileSpan span = {left < kPanel ? left : kPanel, k0 == 0, k0 + depth == g.k};
    for (int r = row; r < row + rows; r += kTileRows, next += ahead) {
      if (left > kPanel) Prefetch(next, ahead * static_cast<long>(sizeof(float)));
      WithRows<kTileRows>(row + rows - r < kTileRows ? row + rows - r : kTileRows, [&]<int kRows>() {
        GemmTile<kRows>(g, g.a + r * g.lda + k0, panel, depth, g.bias + column, g.c + r * g.ldc + column,
                        span);
      });
    }
  }
}

// Calls tile.template operator()<rows>(row, column, panel) for every tile of a product of m rows and n
// columns whose panels of `bytes` bytes are not cut in depth. A row block meets every panel; meanwhile the
// next panel is fetched, as in GemmBlock.
template <typename F>
inline void ForEachTile(int m, int n, const void* panels, long bytes, const F& tile) {
  if (m == 0) return;
  const int row_step = PartSize(m, kMaxRows, kTileRows);
  for (int block = 0; block < m; block += row_step) {
    const int rows = m - block < row_step ? m - block : row_step;
    const int tiles = (rows + kTileRows - 1) / kTileRows;
    const long ahead = ((bytes + tiles - 1) / tiles + 63) / 64 * 64;
    const signed char* panel = static_cast<const signed char*>(panels);
    for (int column = 0; column < n; column += kPanel, panel += bytes) {
      const signed char* next = panel + bytes;
      for (int row = block; row < block + rows; row += kTileRows, next += ahead) {
        if (n - column > kPanel) Prefetch(next, ahead);
        WithRows<kTileRows>(block + rows - row < kTileRows ? block + rows - row : kTileRows,
                            [&]<int kRows>() { tile.template operator()<kRows>(row, column, panel); });
      }
    }
  }
}

inline void Gemm(const GemmArgs& g) {
  if (g.m == 0) return;
  const int row_step = PartSize(g.m, kMaxRows, kTileRows);
  const int depth_step = PartSize(g.k, kMaxDepth, 1);
  for (int row = 0; row < g.m; row += row_step) {
    const int rows = g.m - row < row_step ? g.m - row : row_step;
    for (int k0 = 0; k0 < g.k; k0 += depth_step)
      GemmBlock(g, row, rows, k0, g.k - k0 < depth_step ? g.k - k0 : depth_step);
  }
}

}  // namespace rerankd::RERANKD_ISA
