// Weights as int8 products read them: a scale for each output row, values -127 .. 127.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/kernel_set.h"

namespace rerankd {

struct Int8Weights {
  std::vector<int8_t> codes;  // [outputs, inputs]: weight = code * scale of its row
  std::vector<float> scales;  // [outputs]
};

// Each row with the finest scale that holds its largest weight. Weights that are int8 already stay as they
// are.
Int8Weights QuantizeWeights(const LinearWeights& weights);

// Panels of traits.panel_width columns, each [padded inputs / group][panel_width][group]; what is missing is
// zero.
void PackInt8(std::span<const int8_t> codes, int outputs, int inputs, const Int8Traits& traits,
              std::span<int8_t> panels);
size_t PackedInt8Size(int outputs, int inputs, const Int8Traits& traits);

}  // namespace rerankd
