// Products of codes on tile registers (AMX): 32 rows x one panel of 32 columns at a time are four tiles of
// sums; each step of the depth loads two tiles of rows and two of weights for four products of tiles. Panels
// are those of the other AVX-512 sets: 16 groups of the depth of one half of a panel are a tile of weights.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

static_assert(kPanel == 2 * kTileBytes / 4);
constexpr long kPanelRow = 4L * kPanel;  // bytes of a group of the depth
constexpr int kFirstWeightTile = 6;      // sums 0 .. 3, rows 4 and 5

struct BytesOfTiles {
  template <int kSums, int kA, int kWeights>
  static void Dot() {
    DotTilesBytes<kSums, kA, kWeights>();
  }
};
struct Bf16OfTiles {
  template <int kSums, int kA, int kWeights>
  static void Dot() {
    DotTilesBf16<kSums, kA, kWeights>();
  }
};

// Rows of a product that tiles take together: kTileHeight (or all, if there are fewer) from `first` on and,
// with two halves, as many from first + second on. Halves may overlap: rows are then computed twice, alike.
struct RowsOfTiles {
  int first, second, halves;
};

// sums = the rows at `a` times a panel: kTileHeight rows, or with two halves twice as many, `sum_stride`
// bytes apart. `steps` of kTileBytes of a row. meanwhile(step) runs between the steps: products of tiles
// occupy a unit of their own.
template <typename Product, int kHalves, typename F>
inline void MultiplyTiles(const unsigned char* a, long stride, long second, const signed char* panel,
                          int steps, void* sums, long sum_stride, const F& meanwhile) {
  ZeroTile<0>();
  ZeroTile<1>();
  if constexpr (kHalves == 2) {
    ZeroTile<2>();
    ZeroTile<3>();
  }
  for (int step = 0; step < steps; ++step, a += kTileBytes, panel += kTileHeight * kPanelRow) {
    LoadTile<6>(panel, kPanelRow);
    LoadTile<4>(a, stride);
    Product::template Dot<0, 4, 6>();
    LoadTile<7>(panel + kTileBytes, kPanelRow);
    Product::template Dot<1, 4, 7>();
    if constexpr (kHalves == 2) {
      LoadTile<5>(a + second * stride, stride);
      Product::template Dot<2, 5, 6>();
      Product::template Dot<3, 5, 7>();
    }
    meanwhile(step);
  }
  char* to = static_cast<char*>(sums);
  StoreTileTo<0>(to, sum_stride);
  StoreTileTo<1>(to + kTileBytes, sum_stride);
  if constexpr (kHalves == 2) {
    to += kTileHeight * sum_stride;
    StoreTileTo<2>(to, sum_stride);
    StoreTileTo<3>(to + kTileBytes, sum_stride);
  }
}

// Calls block(rows of tiles, column, panel) for every block of a product of m rows and n columns whose panels
// have `bytes` bytes, in the order of ForEachTile.
template <typename F>
inline void ForEachBlock(int m, int n, const void* panels, long bytes, const F& block) {
  constexpr int kBlockRows = 2 * kTileHeight;
  constexpr int kMaxBlockRows = 128;
  const int part = PartSize(m, kMaxBlockRows, kBlockRows);
  for (int begin = 0; begin < m; begin += part) {
    const int end = m - begin < part ? m : begin + part;
    const int blocks = (end - begin + kBlockRows - 1) / kBlockRows;
    const long ahead = ((bytes + blocks - 1) / blocks + 63) / 64 * 64;
    const signed char* panel = static_cast<const signed char*>(panels);
    for (int column = 0; column < n; column += kPanel, panel += bytes) {
      const signed char* next = panel + bytes;
      for (int row = begin; row < end; row += kBlockRows, next += ahead) {
        if (n - column > kPanel) Prefetch(next, ahead);
        const int rows = end - row < kBlockRows ? end - row : kBlockRows;
        // A rest that does not fill a tile starts earlier, where rows are there.
        if (rows > kTileHeight)
          block(RowsOfTiles{row, rows - kTileHeight, 2}, column, panel);
        else
          block(RowsOfTiles{m < kTileHeight ? 0 : end - kTileHeight, 0, 1}, column, panel);
      }
    }
  }
}

// Two rows of sums, x[2 * row + half of the panel]: scaled, with bias. As Int8Tile: the same operations in
// the same order.
struct FinishInt8 {
  const Int8GemmArgs& g;
  Vec scales[2], bias[2];
  IntVec sums[2];

  void Column(int column) {
    for (int i = 0; i < 2; ++i) {
      scales[i] = Load(g.scales + column + i * kLanes);
      bias[i] = Load(g.bias + column + i * kLanes);
      sums[i] = LoadInts(g.sums + column + i * kLanes);
    }
  }
  [[gnu::always_inline]] Group operator()(int row, int next, const float* from) const {
    const Vec scale[2] = {Set(g.a.scales[row]), Set(g.a.scales[next])};
    const IntVec zero[2] = {SetInt(-g.a.zeros[row]), SetInt(-g.a.zeros[next])};
    return Each([&](int i) __attribute__((always_inline)) {
      const IntVec sum = AddInts(MulInts(zero[i / 2], sums[i % 2]), LoadInts(from + i * kLanes));
      return Fma(ToFloat(sum), Mul(scale[i / 2], scales[i % 2]), bias[i % 2]);
    });
  }
};

struct FinishBf16 {
  const Bf16GemmArgs& g;
  Vec bias[2];

  void Column(int column) {
    for (int i = 0; i < 2; ++i) bias[i] = Load(g.bias + column + i * kLanes);
  }
  [[gnu::always_inline]] Group operator()(int /*row*/, int /*next*/, const float* from) const {
    return Each([&](int i)
                    __attribute__((always_inline)) { return Add(Load(from + i * kLanes), bias[i % 2]); });
  }
};

// c = post(finish(sums)) for a block of sums, two rows at a time.
template <typename Args, typename Finish>
struct BlockWriter {
  const Args& g;
  Finish finish;
  const float* sums = nullptr;  // of the block that is to be written; null: there is none
  RowsOfTiles rows = {};
  int column = 0;

  void Take(const float* block, RowsOfTiles block_rows, int block_column) {
    sums = block;
    rows = block_rows;
    column = block_column;
  }

  // Part `part` of `parts` of the block.
  [[gnu::always_inline]] void Write(int part, int parts) {
    if (sums == nullptr) return;
    constexpr int kPairs = kTileHeight / 2;  // of a half
    const int pairs = rows.halves * kPairs;
    const int last = g.m - 1, left = g.n - column;
    const Mask mask[2] = {FirstLanes(left), FirstLanes(left - kLanes)};
    finish.Column(column);
    for (int pair = pairs * part / parts; pair < pairs * (part + 1) / parts; ++pair) {
      const int row = rows.first + (pair < kPairs ? 0 : rows.second) + pair % kPairs * 2;
      if (row > last) return;
      const int next = row < last ? row + 1 : row;  // then the same row, and nothing is stored
      Group x = finish(row, next, sums + pair * 2L * kPanel);
      if (g.post == PostOp::kGelu)
        x = CoarseGelu(x);
      else if (g.post != PostOp::kNone)
        x = Applied(x);
      float* const c = g.c + row * g.ldc + column;
      StoreMasked(c, mask[0], x.v[0]);
      StoreMasked(c + kLanes, mask[1], x.v[1]);
      if (next == row) return;
      StoreMasked(c + g.ldc, mask[0], x.v[2]);
      StoreMasked(c + g.ldc + kLanes, mask[1], x.v[3]);
    }
  }

  Group Applied(const Group& x) const {
    float values[kGroup * kLanes];
    StoreGroup(values, x);
    ApplyPostOp(g.post, values, kGroup * kLanes);
    return LoadGroup(values);
  }
};

// c = post(finish(a times the panels)). While a block is multiplied the one before is written.
template <typename Product, typename Args, typename Finish>
inline void TiledGemm(const Args& g, const void* panels, int code_bytes, const Finish& finish) {
  if (g.m == 0) return;
  const int steps = RoundUp(g.k, kCodeAlignment) * code_bytes / kTileBytes;
  alignas(64) float sums[2][2 * kTileHeight * kPanel];  // or int32
  BlockWriter<Args, Finish> writer = {g, finish};
  int turn = 0;
  ConfigureTiles(g.m < kTileHeight ? g.m : kTileHeight, kFirstWeightTile);
  ForEachBlock(g.m, g.n, panels, steps * kTileHeight * kPanelRow,
               [&](RowsOfTiles rows, int column, const signed char* panel) {
                 const unsigned char* a = g.a.codes + rows.first * g.a.stride;
                 const auto write = [&](int step) __attribute__((always_inline)) {
                   writer.Write(step, steps);
                 };
                 if (rows.halves == 2)
                   MultiplyTiles<Product, 2>(a, g.a.stride, rows.second, panel, steps, sums[turn], kPanelRow,
                                             write);
                 else
                   MultiplyTiles<Product, 1>(a, g.a.stride, 0, panel, steps, sums[turn], kPanelRow, write);
                 writer.Take(sums[turn], rows, column);
                 turn = 1 - turn;
               });
  ReleaseTiles();
  writer.Write(0, 1);
}

inline void Int8Gemm(const Int8GemmArgs& g) {
  TiledGemm<BytesOfTiles>(g, g.panels, 1, FinishInt8{g, {}, {}, {}});
}
inline void Bf16Gemm(const Bf16GemmArgs& g) { TiledGemm<Bf16OfTiles>(g, g.panels, 2, FinishBf16{g, {}}); }

// c[r, 0..columns) = a[r, 0..depth) * panels, for attention: rows are contiguous, depth and columns multiples
// of kPanel. Whole tiles are multiplied, so that a and c have room for kBf16Rows. Between Bf16Products() and
// its end.
constexpr int kBf16Rows = 2 * kTileHeight;

struct Bf16Products {
  Bf16Products() { ConfigureTiles(kTileHeight, kFirstWeightTile); }
  ~Bf16Products() { ReleaseTiles(); }
  Bf16Products(const Bf16Products&) = delete;
  Bf16Products& operator=(const Bf16Products&) = delete;
};

inline void MultiplyBf16(const unsigned char* a, int rows, const void* panels, int depth, int columns,
                         float* c) {
  const signed char* panel = static_cast<const signed char*>(panels);
  const long stride = 2L * depth, c_stride = 4L * columns;
  const int steps = depth * 2 / kTileBytes;
  for (int column = 0; column < columns; column += kPanel, panel += 2L * depth * kPanel) {
    if (rows > kTileHeight)
      MultiplyTiles<Bf16OfTiles, 2>(a, stride, kTileHeight, panel, steps, c + column, c_stride, [](int) {});
    else
      MultiplyTiles<Bf16OfTiles, 1>(a, stride, 0, panel, steps, c + column, c_stride, [](int) {});
  }
}

// Four chains of products cover their latency (52 cycles, one started every 16).
template <typename Product>
inline double TilePeak(long rounds, int products) {
  ConfigureTiles(kTileHeight, kFirstWeightTile);
  for (long i = 0; i < rounds; ++i) {
    Product::template Dot<0, 4, 6>();
    Product::template Dot<1, 4, 7>();
    Product::template Dot<2, 5, 6>();
    Product::template Dot<3, 5, 7>();
  }
  ReleaseTiles();
  return static_cast<double>(rounds) * 4 * kTileHeight * kTileHeight * kTileHeight * products * 2;
}
inline double Int8Peak(long rounds) { return TilePeak<BytesOfTiles>(rounds, 4); }
inline double Bf16Peak(long rounds) { return TilePeak<Bf16OfTiles>(rounds, 2); }

}  // namespace rerankd::RERANKD_ISA
