// What a pair costs, counted from the shape of the network alone: the numerator of every share of peak.
#pragma once

#include "weights/model_config.h"

namespace rerankd {

// Multiply-adds that the logits of one pair of `tokens` tokens need: all matrix products and attention on the
// exact length, the last layer for [CLS] alone but for its keys and values. Left out: embedding, norms,
// activations, softmax (no products), pooler and classifier (below 0.1 %).
double PairMultiplyAdds(const ModelConfig& config, double tokens);

}  // namespace rerankd
