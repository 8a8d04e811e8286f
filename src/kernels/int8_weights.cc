#include "kernels/int8_weights.h"

#include <algorithm>
#include <cmath>

namespace rerankd {
namespace {

constexpr int kMaxWeight = 127;

size_t RoundUp(int value, int to) { return static_cast<size_t>((value + to - 1) / to * to); }

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

size_t PackedInt8Size(int outputs, int inputs, const Int8Traits& traits) {
  return RoundUp(outputs, traits.panel_width) * RoundUp(inputs, traits.group);
}

void PackInt8(std::span<const int8_t> codes, int outputs, int inputs, const Int8Traits& traits,
              std::span<int8_t> panels) {
  std::fill(panels.begin(), panels.end(), int8_t{0});
  const size_t width = static_cast<size_t>(traits.panel_width), depth = RoundUp(inputs, traits.group);
  const size_t columns = static_cast<size_t>(outputs), rows = static_cast<size_t>(inputs);
  const size_t group = static_cast<size_t>(traits.group);
  for (size_t column = 0; column < columns; ++column) {
    int8_t* to = panels.data() + column / width * width * depth + column % width * group;
    for (size_t k = 0; k < rows; ++k) to[k / group * width * group + k % group] = codes[column * rows + k];
  }
}

}  // namespace rerankd
