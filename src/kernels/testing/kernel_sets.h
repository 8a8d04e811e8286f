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

constexpr float kUnit = std::numeric_limits<float>::epsilon() / 2;  // rounding error of one fp32 operation

// Every set that this machine runs.
inline std::vector<const KernelSet*> TestedSets() {
  std::vector<const KernelSet*> sets;
  for (const KernelSet* kernels : BuiltKernelSets()) {
    if (Runs(*kernels)) sets.push_back(kernels);
  }
  return sets;
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

}  // namespace rerankd
