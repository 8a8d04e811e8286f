// The inner loops of all products in NEON registers but those of i8mm: four steps of a row come in one load,
// and each step's instruction takes its own lane of it. A broadcast for each step would cost a vector
// operation on most cores.
#pragma once

namespace rerankd::RERANKD_ISA {

// sums[r] += the step in lane kLane of x[r] times the two vectors of the panel.
template <typename Op, int kLane, int kRows>
[[gnu::always_inline]] inline void MultiplyLane(const typename Op::In (&x)[kRows],
                                                const typename Op::In (&weights)[kTileVecs],
                                                typename Op::Sum (&sums)[kRows][kTileVecs]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) Op::template Add<kLane>(x[r], weights, sums[r]);
}

// acc[r] += a[r] * panel over `depth` steps, ascending. A step is four bytes of a row (`stride` counts bytes)
// and two vectors of the panel. The copy of acc is what stays in registers; a function of its own, or GCC
// makes room for what its callers keep.
template <typename Op, int kRows>
[[gnu::noinline]] void MultiplySteps(const unsigned char* a, long stride, const unsigned char* panel,
                                     int depth, typename Op::Sum (&acc)[kRows][kTileVecs]) {
  constexpr int kStep = 4 * kPanel;
  const auto weights = [&](int step, typename Op::In(&to)[kTileVecs]) {
    to[0] = Op::Load(panel + step * kStep);
    to[1] = Op::Load(panel + step * kStep + kStep / 2);
  };
  typename Op::Sum sum[kRows][kTileVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sum[r][0] = acc[r][0], sum[r][1] = acc[r][1];
  typename Op::In x[kRows], w[kTileVecs];
  int k = 0;
  for (; Op::kByLane && k + 4 <= depth; k += 4, a += 16, panel += 4 * kStep) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = Op::Load(a + r * stride);
    weights(0, w);
    MultiplyLane<Op, 0>(x, w, sum);
    weights(1, w);
    MultiplyLane<Op, 1>(x, w, sum);
    weights(2, w);
    MultiplyLane<Op, 2>(x, w, sum);
    weights(3, w);
    MultiplyLane<Op, 3>(x, w, sum);
  }
  for (; k < depth; ++k, a += 4, panel += kStep) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = Op::LoadStep(a + r * stride);
    weights(0, w);
    MultiplyLane<Op, 0>(x, w, sum);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = sum[r][0], acc[r][1] = sum[r][1];
}

struct FloatOp {
  static constexpr bool kByLane = true;
  using In = Vec;
  using Sum = Vec;

  static Vec Load(const unsigned char* p) { return {vreinterpretq_f32_u8(vld1q_u8(p))}; }
  static Vec LoadStep(const unsigned char* p) { return {vreinterpretq_f32_s32(BroadcastQuad(p).v)}; }
  // In assembler, because GCC 12 moves the sums of the intrinsic from register to register, and one to
  // memory.
  template <int kLane>
  [[gnu::always_inline]] static void Add(Vec x, const Vec (&weights)[kTileVecs], Vec (&sums)[kTileVecs]) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; ++v)
      asm("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sums[v].v) : "w"(weights[v].v), "w"(x.v), "i"(kLane));
  }
};

// acc[r] += a[r, 0..k) * panel, one multiply-add per element and k, k ascending: the order that makes a row
// independent of its neighbours.
template <int kRows>
inline void MultiplyTile(const float* a, long lda, const float* panel, int k, Vec (&acc)[kRows][kTileVecs]) {
  MultiplySteps<FloatOp>(reinterpret_cast<const unsigned char*>(a), 4 * lda,
                         reinterpret_cast<const unsigned char*>(panel), k, acc);
}

}  // namespace rerankd::RERANKD_ISA
