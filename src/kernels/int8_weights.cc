#include "kernels/int8_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace rerankd {
namespace {

constexpr int kMaxWeight = 127;

size_t RoundUp(int value, int to) { return static_cast<size_t>((value + to - 1) / to * to); }

// How much too large the largest possible sum of a 16-bit lane is: above 1 it can overflow. A lane sums up
// neighbours k, k + 1 of lane_products / 2 consecutive quads of the depth.
double LaneLoad(std::span<const int8_t> row, const Int8Traits& traits) {
  if (traits.lane_products == 0) return 0;
  const size_t block = static_cast<size_t>(traits.lane_products) * 2;
  int worst = 0;
  for (size_t start = 0; start < row.size(); start += block) {
    int up[2] = {}, down[2] = {};
    for (size_t k = start; k < std::min(row.size(), start + block); ++k) {
      int* const sums = row[k] > 0 ? up : down;
      sums[k / 2 % 2] += std::abs(row[k]);
    }
    worst = std::max({worst, up[0], up[1], down[0], down[1]});
  }
  return static_cast<double>(worst) * traits.max_code / std::numeric_limits<int16_t>::max();
}

void QuantizeRow(std::span<const float> row, float scale, std::span<int8_t> codes) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (size_t k = 0; k < row.size(); ++k) {
    const float code = std::nearbyint(row[k] * inverse);
    codes[k] = static_cast<int8_t>(std::clamp(code, -float{kMaxWeight}, float{kMaxWeight}));
  }
}

// Starts from the scale that the largest weight needs and coarsens it until every lane holds.
float FitRow(std::span<const float> row, const Int8Traits& traits, std::span<int8_t> codes) {
  float largest = 0;
  for (const float w : row) largest = std::max(largest, std::abs(w));
  float scale = largest / kMaxWeight;
  QuantizeRow(row, scale, codes);
  for (double load = LaneLoad(codes, traits); load > 1; load = LaneLoad(codes, traits)) {
    scale *= static_cast<float>(std::max(load, 1.002));  // rounding may need one more step
    QuantizeRow(row, scale, codes);
  }
  return scale;
}

}  // namespace

bool LanesHold(std::span<const int8_t> row, const Int8Traits& traits) { return LaneLoad(row, traits) <= 1; }

Int8Weights QuantizeWeights(const LinearWeights& weights, const Int8Traits& traits) {
  const size_t outputs = static_cast<size_t>(weights.outputs), inputs = static_cast<size_t>(weights.inputs);
  Int8Weights out{std::vector<int8_t>(outputs * inputs), std::vector<float>(outputs)};
  std::vector<float> row(inputs);
  for (size_t o = 0; o < outputs; ++o) {
    const std::span<int8_t> codes = std::span(out.codes).subspan(o * inputs, inputs);
    if (weights.codes.empty()) {
      out.scales[o] = FitRow(weights.weight.subspan(o * inputs, inputs), traits, codes);
      continue;
    }
    const std::span<const int8_t> stored = weights.codes.subspan(o * inputs, inputs);
    out.scales[o] = weights.scales[o];
    std::copy(stored.begin(), stored.end(), codes.begin());
    if (LanesHold(stored, traits)) continue;
    for (size_t k = 0; k < inputs; ++k) row[k] = static_cast<float>(stored[k]) * weights.scales[o];
    out.scales[o] = FitRow(row, traits, codes);
  }
  return out;
}

size_t PackedInt8Size(int outputs, int inputs, const Int8Traits& traits) {
  return RoundUp(outputs, traits.panel_width) * RoundUp(inputs, traits.depth_step);
}

void PackInt8(std::span<const int8_t> codes, int outputs, int inputs, const Int8Traits& traits,
              std::span<int8_t> panels) {
  std::fill(panels.begin(), panels.end(), int8_t{0});
  const size_t width = static_cast<size_t>(traits.panel_width), depth = RoundUp(inputs, traits.depth_step);
  const size_t columns = static_cast<size_t>(outputs), rows = static_cast<size_t>(inputs);
  for (size_t column = 0; column < columns; ++column) {
    int8_t* to = panels.data() + column / width * width * depth + column % width * 4;
    for (size_t k = 0; k < rows; ++k) to[k / 4 * width * 4 + k % 4] = codes[column * rows + k];
  }
}

}  // namespace rerankd
