// Weights as int8 products read them: a scale for each output row, values -127 .. 127.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/gemm.h"

namespace rerankd {

struct Int8Weights {
  std::vector<int8_t> codes;  // [outputs, inputs]: weight = code * scale of its row
  std::vector<float> scales;  // [outputs]
};

// Each row with the finest scale that holds its largest weight. Weights that are int8 already stay as they
// are.
Int8Weights QuantizeWeights(const LinearWeights& weights);

}  // namespace rerankd
