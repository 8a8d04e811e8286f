// Pairs in, one score each out, in input order: vLLM's POST /score and SageMaker's `text_pairs`.
#pragma once

#include <string_view>

#include "serving/http/calls.h"

namespace rerankd::serving {

// `text_1` and `text_2` (or `data_1`/`data_2`, `queries` with `documents` or `items`): 1 x N or N x N. Scores
// have the model's own activation; `use_activation: false` gives logits.
void Score(ScoreService& service, std::string_view route, HttpRequest& request, const Respond& respond);

// {"text_pairs": [[query, document], …]} -> {"scores": […]}, sigmoids.
void ScoreTextPairs(const Call& call, const Json& body);

}  // namespace rerankd::serving
