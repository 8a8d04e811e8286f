#include "kernels/int8_weights.h"

#include <algorithm>
#include <cmath>

namespace rerankd {
namespace {

constexpr int kMaxWeight = 127;

void QuantizeRow(std::span<const float> row, float scale, std::span<int8_t> codes) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (size_t k = 0; k < row.size(); ++k) {
    const float code = std::nearbyint(row[k] * inverse);
    codes[k] = static_cast<int8_t>(std::clamp(code, -float{kMaxWeight}, float{kMaxWeight}));
  }
}

}  // namespace

Int8Weights QuantizeWeights(const LinearWeights& weights) {
  const size_t outputs = static_cast<size_t>(weights.outputs), inputs = static_cast<size_t>(weights.inputs);
  if (!weights.codes.empty())
    return {{weights.codes.begin(), weights.codes.end()}, {weights.scales.begin(), weights.scales.end()}};
  Int8Weights out{std::vector<int8_t>(outputs * inputs), std::vector<float>(outputs)};
  for (size_t o = 0; o < outputs; ++o) {
    const std::span<const float> row = weights.weight.subspan(o * inputs, inputs);
    float largest = 0;
    for (const float w : row) largest = std::max(largest, std::abs(w));
    out.scales[o] = largest / kMaxWeight;
    QuantizeRow(row, out.scales[o], std::span(out.codes).subspan(o * inputs, inputs));
  }
  return out;
}

}  // namespace rerankd
