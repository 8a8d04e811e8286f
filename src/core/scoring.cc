#include "core/scoring.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace rerankd {
namespace {

constexpr std::string_view kNames[] = {"raw", "sigmoid", "softmax"};

}  // namespace

Result<Activation> ParseActivation(std::string_view name) {
  for (int i = 0; i < 3; ++i)
    if (kNames[i] == name) return static_cast<Activation>(i);
  return InvalidArgument("activation '" + std::string(name) + "' is not one of raw, sigmoid, softmax");
}

std::string_view ActivationName(Activation activation) { return kNames[static_cast<int>(activation)]; }

float Sigmoid(float logit) {
  // exp of a non-positive number only: no overflow for any logit.
  const float e = std::exp(-std::fabs(logit));
  return logit >= 0 ? 1 / (1 + e) : e / (1 + e);
}

void Softmax(std::span<float> row) {
  const float largest = *std::max_element(row.begin(), row.end());
  float sum = 0;
  for (float& x : row) sum += x = std::exp(x - largest);
  for (float& x : row) x /= sum;
}

void Activate(Activation activation, int num_labels, std::span<float> scores) {
  if (activation == Activation::kSigmoid) {
    for (float& x : scores) x = Sigmoid(x);
  } else if (activation == Activation::kSoftmax) {
    const auto width = static_cast<size_t>(num_labels);
    for (size_t i = 0; i + width <= scores.size(); i += width) Softmax(scores.subspan(i, width));
  }
}

std::vector<int> RankDescending(std::span<const float> scores, int top_n) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](int i) {
    const float score = scores[static_cast<size_t>(i)];
    return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
  };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) > key(b); });
  if (top_n > 0 && static_cast<size_t>(top_n) < order.size()) order.resize(static_cast<size_t>(top_n));
  return order;
}

}  // namespace rerankd
