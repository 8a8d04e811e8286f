// What the tests of kernels/ share: the kernel sets to test, random numbers, exact functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/dispatch.h"

namespace rerankd {

namespace emulated_avxvnni {
extern const KernelSet kKernels;
}
namespace emulated_avx512 {
extern const KernelSet kKernels;
}
namespace emulated_avx512vnni {
extern const KernelSet kKernels;
}
namespace emulated_avx512bf16 {
extern const KernelSet kKernels;
}
namespace emulated_avx512amx {
extern const KernelSet kKernels;
}

constexpr float kUnit = std::numeric_limits<float>::epsilon() / 2;  // rounding error of one fp32 operation

// Every set of the program that this machine runs, slowest first.
inline std::vector<const KernelSet*> RunningSets() {
  std::vector<const KernelSet*> sets;
  for (const KernelSet* kernels : BuiltKernelSets()) {
    if (Runs(*kernels)) sets.push_back(kernels);
  }
  return sets;
}

// And those whose instructions are emulated (emulate_avx512.h), with AVX2.
inline std::vector<const KernelSet*> TestedSets() {
  std::vector<const KernelSet*> sets = RunningSets();
#if defined(RERANKD_EMULATED_SETS)
  if (ChooseKernels("avx2").ok())
    sets.insert(sets.end(),
                {&emulated_avxvnni::kKernels, &emulated_avx512::kKernels, &emulated_avx512vnni::kKernels,
                 &emulated_avx512bf16::kKernels, &emulated_avx512amx::kKernels});
#endif
  return sets;
}

// Tests for every number of rows go this far at a time. The reference has no tiles, but takes minutes; so do
// emulated sets, emulated CPUs and sanitized code: for them a step that meets every remainder of their tiles.
inline int RowStep(const KernelSet& kernels) {
  if (&kernels == BuiltKernelSets().front()) return 85;
#if defined(RERANKD_EMULATED_CPU) || defined(RERANKD_SANITIZED)
  return 17;
#else
  const std::vector<const KernelSet*> real = RunningSets();
  return std::find(real.begin(), real.end(), &kernels) != real.end() ? 1 : 17;
#endif
}

inline std::vector<float> Random(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(engine);
  return values;
}

inline double ExactPostOp(PostOp op, double x) {
  switch (op) {
    case PostOp::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case PostOp::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case PostOp::kRelu:
      return std::max(x, 0.0);
    case PostOp::kTanh:
      return std::tanh(x);
    case PostOp::kNone:
      break;
  }
  return x;
}

// What a post-op that follows a product of int8 or bf16 may err by, its rounding apart.
inline double CoarseError(PostOp op, double x) { return op == PostOp::kGelu ? 5e-5 + 2e-6 * std::abs(x) : 0; }

}  // namespace rerankd
