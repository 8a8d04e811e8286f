#include "model/bert_cost.h"

#include <numeric>

namespace rerankd {

std::array<double, kStages> StageMultiplyAdds(const ModelConfig& config, double tokens) {
  const double h = config.hidden_size, f = config.intermediate_size, n = tokens;
  const double full = config.num_layers - 1;  // layers
  const double rows = full * n + 1;  // that pass the second half of a layer: of the last one [CLS] alone
  std::array<double, kStages> work{};
  const auto of = [&](Stage stage) -> double& { return work[static_cast<size_t>(stage)]; };
  of(Stage::kQueryKeyValue) = full * n * 3 * h * h + n * 2 * h * h + h * h;
  of(Stage::kAttention) = full * 2 * n * n * h + 2 * n * h;
  of(Stage::kAttentionOutput) = rows * h * h;
  of(Stage::kIntermediate) = rows * h * f;
  of(Stage::kOutput) = rows * h * f;
  return work;
}

double PairMultiplyAdds(const ModelConfig& config, double tokens) {
  const std::array<double, kStages> work = StageMultiplyAdds(config, tokens);
  return std::accumulate(work.begin(), work.end(), 0.0);
}

}  // namespace rerankd
