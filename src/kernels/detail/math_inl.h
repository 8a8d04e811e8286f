// exp, GELU and tanh on vectors; V is a Vec or a Group of them. The coefficients are our own minimax fits
// (Lawson-weighted rational and polynomial least squares at 40 digits); errors of the fits are stated, those
// of the fp32 code are tested.
#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::RERANKD_ISA {

// exp(x), relative error below 1.5e-7; x is clamped to [-87, 88].
template <typename V>
[[gnu::always_inline]] inline V Exp(V x) {
  x = Min(Max(x, Set(-87.0F)), Set(88.0F));
  const V n = Round(Mul(x, Set(1.44269504F)));
  // ln 2 in two parts: n * 0.693359375 is exact.
  V r = Fma(n, Set(-0.693359375F), x);
  r = Fma(n, Set(2.12194440e-4F), r);
  // exp(r) = 1 + r + r^2 p(r) on |r| <= ln(2) / 2, fit error 3.1e-9.
  V p = Fma(r, Set(0.00138149309F), Set(0.00836876773F));
  p = Fma(p, r, Set(0.0416683885F));
  p = Fma(p, r, Set(0.166665202F));
  p = Fma(p, r, Set(0.499999934F));
  p = Fma(Mul(r, r), p, r);
  const V scale = Exp2Int(n);
  return Fma(p, scale, scale);
}

// erf(x) = x P(x^2) / Q(x^2) on |x| <= 3.9, fit error 1.8e-8; beyond it erf is 1 to fp32.
template <typename V>
[[gnu::always_inline]] inline V Erf(V x) {
  x = Min(Max(x, Set(-3.9F)), Set(3.9F));
  const V t = Mul(x, x);
  V p = Fma(t, Set(2.06648233e-6F), Set(2.85012761e-4F));
  V q = Fma(t, Set(3.82675528e-5F), Set(1.15699546e-3F));
  p = Fma(p, t, Set(3.73690278e-3F));
  q = Fma(q, t, Set(0.0149113865F));
  p = Fma(p, t, Set(0.0526635356F));
  q = Fma(q, t, Set(0.113805646F));
  p = Fma(p, t, Set(0.189635501F));
  q = Fma(q, t, Set(0.501392876F));
  p = Fma(p, t, Set(1.12837915F));
  q = Fma(q, t, Set(1.0F));
  return Div(Mul(x, p), q);
}

template <typename V>
[[gnu::always_inline]] inline V Gelu(const V& x) {
  const V half = Mul(x, Set(0.5F));
  return Fma(half, Erf(Mul(x, Set(0.707106781F))), half);
}

// The same without a division, for what follows a product of int8 or bf16: Phi(x) - 1/2 = x P(x^2) on |x| <=
// 4.4, 1/2 beyond. Absolute error below 5e-5 + 2e-6 |x|, where a step of the codes is some hundred times
// that.
template <typename V>
[[gnu::always_inline]] inline V CoarseGelu(const V& x) {
  const V z = Min(Max(x, Set(-4.4F)), Set(4.4F));
  const V t = Mul(z, z);
  V p = Fma(t, Set(3.56942878e-11F), Set(-3.75404863e-9F));
  p = Fma(p, t, Set(1.74084732e-7F));
  p = Fma(p, t, Set(-4.72486818e-6F));
  p = Fma(p, t, Set(8.42930167e-5F));
  p = Fma(p, t, Set(-0.00105499255F));
  p = Fma(p, t, Set(0.00964302849F));
  p = Fma(p, t, Set(-0.0660764277F));
  p = Fma(p, t, Set(0.3987616F));
  return Mul(x, Fma(z, p, Set(0.5F)));
}

// 1 - 2 / (exp(2x) + 1): absolute error below 2e-7.
template <typename V>
[[gnu::always_inline]] inline V Tanh(const V& x) {
  return Sub(Set(1.0F), Div(Set(2.0F), Add(Exp(Add(x, x)), Set(1.0F))));
}

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <typename V>
[[gnu::always_inline]] inline V GeluTanh(const V& x) {
  const V cubic = Fma(Mul(x, x), Set(0.044715F), Set(1.0F));
  const V minus_2u = Mul(Mul(x, Set(-1.59576912F)), cubic);
  return Div(x, Add(Exp(minus_2u), Set(1.0F)));
}

template <typename F>
inline void MapInPlace(float* values, long count, const F& f) {
  long i = 0;
  for (; i + kGroup * kLanes <= count; i += kGroup * kLanes) StoreGroup(values + i, f(LoadGroup(values + i)));
  for (; i + kLanes <= count; i += kLanes) Store(values + i, f(Load(values + i)));
  if (i == count) return;
  const Mask rest = FirstLanes(static_cast<int>(count - i));
  StoreMasked(values + i, rest, f(LoadMasked(values + i, rest)));
}

inline void ApplyPostOp(PostOp op, float* values, long count) {
  switch (op) {
    case PostOp::kGelu:
      return MapInPlace(values, count, [](const auto& x) { return Gelu(x); });
    case PostOp::kGeluTanh:
      return MapInPlace(values, count, [](const auto& x) { return GeluTanh(x); });
    case PostOp::kRelu:
      return MapInPlace(values, count, [](const auto& x) { return Max(x, Zero()); });
    case PostOp::kTanh:
      return MapInPlace(values, count, [](const auto& x) { return Tanh(x); });
    case PostOp::kNone:
      return;
  }
}

// After a product of int8 or bf16.
inline void ApplyCoarsePostOp(PostOp op, float* values, long count) {
  if (op != PostOp::kGelu) return ApplyPostOp(op, values, count);
  MapInPlace(values, count, [](const auto& x) { return CoarseGelu(x); });
}

}  // namespace rerankd::RERANKD_ISA
