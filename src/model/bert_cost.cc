#include "model/bert_cost.h"

namespace rerankd {

double PairMultiplyAdds(const ModelConfig& config, double tokens) {
  const double h = config.hidden_size, f = config.intermediate_size, n = tokens;
  const double row = 4 * h * h + 2 * h * f;  // q, k, v, output; both products of the feed-forward network
  const double layer = n * row + 2 * n * n * h;
  const double key_value = n * 2 * h * h;  // of the last layer
  return (config.num_layers - 1) * layer + key_value + (row - 2 * h * h) + 2 * n * h;
}

}  // namespace rerankd
