// How many tokens of each text of a pair survive. Pure.
#pragma once

#include <cstddef>

#include "base/status.h"
#include "core/tokenizer.h"

namespace rerankd {

struct TextLengths {
  size_t query = 0;
  size_t document = 0;
};

// Lengths after truncation so that both plus `overhead` special tokens fit options.max_length. A lone text is
// a document with an empty query. kInvalidArgument if that is impossible or not allowed.
Result<TextLengths> FitPair(TextLengths full, size_t overhead, const PairOptions& options);

}  // namespace rerankd
