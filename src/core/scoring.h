// Pure functions from logits to what a client sees: activation, order, top n.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace rerankd {

enum class Activation { kRaw, kSigmoid, kSoftmax };

Result<Activation> ParseActivation(std::string_view name);  // "raw", "sigmoid", "softmax"
std::string_view ActivationName(Activation activation);

float Sigmoid(float logit);
// Stable for any finite input (the maximum is subtracted). In place over one row.
void Softmax(std::span<float> row);
// Applies to every row of `scores` [pairs x num_labels], in place.
void Activate(Activation activation, int num_labels, std::span<float> scores);

// Indices of the `top_n` largest scores (all if top_n <= 0), best first. Equal scores keep input order; NaN
// sorts last.
std::vector<int> RankDescending(std::span<const float> scores, int top_n);

}  // namespace rerankd
