// The eight tile registers of AMX: 16 rows of 64 bytes each (Intel SDM volume 1, chapter 18). In assembler,
// because GCC 12's intrinsics do not tell the compiler which memory they read.
#pragma once

namespace rerankd::RERANKD_ISA {

constexpr int kTiles = 8;
constexpr int kTileHeight = 16;
constexpr int kTileBytes = 64;  // of a row

#if defined(RERANKD_EMULATED)
using emulated::ConfigureTiles;
using emulated::DotTilesBf16;
using emulated::DotTilesBytes;
using emulated::LoadTile;
using emulated::ReleaseTiles;
using emulated::StoreTileTo;
using emulated::ZeroTile;
#else
struct alignas(64) TileConfig {
  unsigned char palette, start_row, reserved[14];
  unsigned short row_bytes[16];
  unsigned char rows[16];
};

// All tiles become zero. `rows` at most kTileHeight: of the tiles of a and of sums; those of weights have
// all.
inline void ConfigureTiles(int rows, int first_weight_tile) {
  TileConfig config = {};
  config.palette = 1;
  for (int i = 0; i < kTiles; ++i) {
    config.row_bytes[i] = kTileBytes;
    config.rows[i] = static_cast<unsigned char>(i < first_weight_tile ? rows : kTileHeight);
  }
  asm volatile("ldtilecfg %0" : : "m"(config));
}
// Until then every switch of threads saves 8 KB more.
inline void ReleaseTiles() { asm volatile("tilerelease"); }

template <int kTile>
inline void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// `stride` in bytes.
template <int kTile>
inline void LoadTile(const void* from, long stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline void StoreTileTo(void* to, long stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
// sums[i][j] += dot(four bytes a[i][k], four signed bytes w[k][j]) over the 16 k, in int32.
template <int kSums, int kA, int kWeights>
inline void DotTilesBytes() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kWeights));
}
// The same over pairs of bf16, in fp32.
template <int kSums, int kA, int kWeights>
inline void DotTilesBf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kWeights));
}
#endif

}  // namespace rerankd::RERANKD_ISA
