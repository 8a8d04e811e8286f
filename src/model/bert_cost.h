// What a pair costs, counted from the shape of the network alone: the numerator of every share of peak.
#pragma once

#include <array>

#include "model/stage_clock.h"
#include "weights/model_config.h"

namespace rerankd {

// Multiply-adds of each stage for the logits of one pair of `tokens` tokens: all matrix products and
// attention on the exact length, the last layer for [CLS] alone but for its keys and values. Left out, or 0:
// embedding, norms, activations, softmax (no products), pooler and classifier (below 0.1 %).
std::array<double, kStages> StageMultiplyAdds(const ModelConfig& config, double tokens);

// Of all stages.
double PairMultiplyAdds(const ModelConfig& config, double tokens);

}  // namespace rerankd
