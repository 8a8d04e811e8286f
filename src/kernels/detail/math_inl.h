// exp, GELU and tanh on vectors. The coefficients are our own minimax fits (Lawson-weighted rational and
// polynomial least squares at 40 digits); errors of the fits are stated, those of the fp32 code are tested.
#pragma once

namespace rerankd::RERANKD_ISA {

// exp(x), relative error below 1.5e-7; x is clamped to [-87, 88].
inline Vec Exp(Vec x) {
  x = Min(Max(x, Set(-87.0F)), Set(88.0F));
  const Vec n = Round(Mul(x, Set(1.44269504F)));
  // ln 2 in two parts: n * 0.693359375 is exact.
  Vec r = Fma(n, Set(-0.693359375F), x);
  r = Fma(n, Set(2.12194440e-4F), r);
  // exp(r) = 1 + r + r^2 p(r) on |r| <= ln(2) / 2, fit error 3.1e-9.
  Vec p = Set(0.00138149309F);
  p = Fma(p, r, Set(0.00836876773F));
  p = Fma(p, r, Set(0.0416683885F));
  p = Fma(p, r, Set(0.166665202F));
  p = Fma(p, r, Set(0.499999934F));
  p = Fma(Mul(r, r), p, r);
  const Vec scale = Exp2Int(n);
  return Fma(p, scale, scale);
}

// erf(x) = x P(x^2) / Q(x^2) on |x| <= 3.9, fit error 1.8e-8; beyond it erf is 1 to fp32.
inline Vec Erf(Vec x) {
  x = Min(Max(x, Set(-3.9F)), Set(3.9F));
  const Vec t = Mul(x, x);
  Vec p = Set(2.06648233e-6F);
  p = Fma(p, t, Set(2.85012761e-4F));
  p = Fma(p, t, Set(3.73690278e-3F));
  p = Fma(p, t, Set(0.0526635356F));
  p = Fma(p, t, Set(0.189635501F));
  p = Fma(p, t, Set(1.12837915F));
  Vec q = Set(3.82675528e-5F);
  q = Fma(q, t, Set(1.15699546e-3F));
  q = Fma(q, t, Set(0.0149113865F));
  q = Fma(q, t, Set(0.113805646F));
  q = Fma(q, t, Set(0.501392876F));
  q = Fma(q, t, Set(1.0F));
  return Div(Mul(x, p), q);
}

inline Vec Gelu(Vec x) {
  const Vec half = Mul(x, Set(0.5F));
  return Fma(half, Erf(Mul(x, Set(0.707106781F))), half);
}

// 1 - 2 / (exp(2x) + 1): absolute error below 2e-7.
inline Vec Tanh(Vec x) {
  const Vec e = Exp(Add(x, x));
  return Sub(Set(1.0F), Div(Set(2.0F), Add(e, Set(1.0F))));
}

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Vec GeluTanh(Vec x) {
  const Vec cubic = Fma(Mul(x, x), Set(0.044715F), Set(1.0F));
  const Vec minus_2u = Mul(Mul(x, Set(-1.59576912F)), cubic);
  return Div(x, Add(Exp(minus_2u), Set(1.0F)));
}

inline Vec Apply(PostOp op, Vec x) {
  switch (op) {
    case PostOp::kGelu:
      return Gelu(x);
    case PostOp::kGeluTanh:
      return GeluTanh(x);
    case PostOp::kRelu:
      return Max(x, Zero());
    case PostOp::kTanh:
      return Tanh(x);
    case PostOp::kNone:
      break;
  }
  return x;
}

inline void ApplyPostOp(PostOp op, float* values, long count) {
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(values + i, Apply(op, Load(values + i)));
  if (i == count) return;
  const Mask rest = FirstLanes(static_cast<int>(count - i));
  StoreMasked(values + i, rest, Apply(op, LoadMasked(values + i, rest)));
}

}  // namespace rerankd::RERANKD_ISA
