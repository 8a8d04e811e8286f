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
// a document with an empty query. `counted` is how much of each text kLongestFirst compares: Hugging Face
// `tokenizers` 0.23.2 stops encoding a text after the word with which it reaches max_length tokens.
// kInvalidArgument if that is impossible or not allowed.
Result<TextLengths> FitPair(TextLengths full, TextLengths counted, size_t overhead,
                            const PairOptions& options);

}  // namespace rerankd
