// Weights as the own kernels read them: panels of some output columns, front to back in the order of use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/kernel_set.h"

namespace rerankd {

struct PanelShape {
  int width;      // output columns of a panel
  int group = 1;  // neighbours of the depth side by side
};

constexpr size_t RoundUp(int value, int to) { return static_cast<size_t>((value + to - 1) / to * to); }

// fp32 is not padded: a panel is used a value of each row at a time.
inline size_t PaddedDepth(int inputs, PanelShape shape) {
  return RoundUp(inputs, shape.group == 1 ? 1 : kCodeAlignment);
}

inline size_t PackedSize(int outputs, int inputs, PanelShape shape) {
  return RoundUp(outputs, shape.width) * PaddedDepth(inputs, shape);
}

// weight [outputs, inputs] -> convert(weight) in panels, each [padded depth / group][width][group]; what is
// missing is zero.
template <typename From, typename To, typename Convert>
void PackPanels(std::span<const From> weight, int outputs, int inputs, PanelShape shape,
                const Convert& convert, std::span<To> panels) {
  std::fill(panels.begin(), panels.end(), To{0});
  const size_t width = static_cast<size_t>(shape.width), group = static_cast<size_t>(shape.group);
  const size_t columns = static_cast<size_t>(outputs), rows = static_cast<size_t>(inputs);
  const size_t depth = PaddedDepth(inputs, shape);
  for (size_t column = 0; column < columns; ++column) {
    To* to = panels.data() + column / width * width * depth + column % width * group;
    for (size_t k = 0; k < rows; ++k)
      to[k / group * width * group + k % group] = convert(weight[column * rows + k]);
  }
}

}  // namespace rerankd
