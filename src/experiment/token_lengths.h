// How long the pairs of a data set are for a model.
#pragma once

#include <optional>

#include "config/settings.h"
#include "experiment/record.h"
#include "load/dataset.h"

namespace rerankd::experiment {

// Of the first pairs (at most 5,000), uncut, special tokens included. Nothing where the first instance's
// model has no tokenizer on this machine.
std::optional<TokenLengths> MeasureTokenLengths(const Settings& settings, const load::Dataset& dataset);

}  // namespace rerankd::experiment
