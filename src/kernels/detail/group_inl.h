// Four vectors in step. One exp or erf is a chain of some 60 cycles; four independent ones side by side keep
// both multiply-add units busy, which the out-of-order window alone does not.
#pragma once

namespace rerankd::RERANKD_ISA {

constexpr int kGroup = 4;

struct Group {
  Vec v[kGroup];
};

[[gnu::always_inline]] inline Vec At(Vec x, int /*i*/) { return x; }
[[gnu::always_inline]] inline Vec At(const Group& x, int i) { return x.v[i]; }

template <typename F>
[[gnu::always_inline]] inline Group Each(const F& f) {
  Group out;
#pragma GCC unroll 4
  for (int i = 0; i < kGroup; ++i) out.v[i] = f(i);
  return out;
}

// Every operation of Vec, with a Vec standing for the same value four times. (Vec, Vec) stays a Vec: an exact
// match beats a template.
template <typename A, typename B>
[[gnu::always_inline]] inline Group Add(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Add(At(a, i), At(b, i)); });
}
template <typename A, typename B>
[[gnu::always_inline]] inline Group Sub(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Sub(At(a, i), At(b, i)); });
}
template <typename A, typename B>
[[gnu::always_inline]] inline Group Mul(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Mul(At(a, i), At(b, i)); });
}
template <typename A, typename B>
[[gnu::always_inline]] inline Group Div(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Div(At(a, i), At(b, i)); });
}
template <typename A, typename B>
[[gnu::always_inline]] inline Group Min(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Min(At(a, i), At(b, i)); });
}
template <typename A, typename B>
[[gnu::always_inline]] inline Group Max(const A& a, const B& b) {
  return Each([&](int i) __attribute__((always_inline)) { return Max(At(a, i), At(b, i)); });
}
template <typename A, typename B, typename C>
[[gnu::always_inline]] inline Group Fma(const A& a, const B& b, const C& c) {
  return Each([&](int i) __attribute__((always_inline)) { return Fma(At(a, i), At(b, i), At(c, i)); });
}
[[gnu::always_inline]] inline Group Round(const Group& x) {
  return Each([&](int i) __attribute__((always_inline)) { return Round(x.v[i]); });
}
[[gnu::always_inline]] inline Group Exp2Int(const Group& n) {
  return Each([&](int i) __attribute__((always_inline)) { return Exp2Int(n.v[i]); });
}
[[gnu::always_inline]] inline Group LoadGroup(const float* p) {
  return Each([&](int i) __attribute__((always_inline)) { return Load(p + i * kLanes); });
}
[[gnu::always_inline]] inline void StoreGroup(float* p, const Group& x) {
#pragma GCC unroll 4
  for (int i = 0; i < kGroup; ++i) Store(p + i * kLanes, x.v[i]);
}

}  // namespace rerankd::RERANKD_ISA
