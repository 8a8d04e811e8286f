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

// The finest scales that `traits` allow. Rows that already are int8 keep their codes where those fit.
Int8Weights QuantizeWeights(const LinearWeights& weights, const Int8Traits& traits);

// No 16-bit lane of a product with this row can leave its range, whatever the codes of the other factor.
bool LanesHold(std::span<const int8_t> row, const Int8Traits& traits);

// Panels of traits.panel_width columns, each [padded inputs / 4][panel_width][4]; what is missing is zero.
void PackInt8(std::span<const int8_t> codes, int outputs, int inputs, const Int8Traits& traits,
              std::span<int8_t> panels);
size_t PackedInt8Size(int outputs, int inputs, const Int8Traits& traits);

}  // namespace rerankd
