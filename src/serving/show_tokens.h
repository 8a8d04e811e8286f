// Tokens for people to look at: /tokenize and tei.v1.Tokenize.
#pragma once

#include <string>
#include <vector>

#include "core/tokenizer.h"

namespace rerankd::serving {

// All tokens of `text`, the special ones included; nothing is cut. A token costs a hundred times the bytes of
// its text: kInvalidArgument for more than 1 MiB, `before` included (of the request's texts before this one).
Result<std::vector<DisplayToken>> ShowTokens(const Tokenizer& tokenizer, const std::string& text,
                                             size_t before = 0);

}  // namespace rerankd::serving
