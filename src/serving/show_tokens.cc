#include "serving/show_tokens.h"

#include <limits>

namespace rerankd::serving {
namespace {

constexpr size_t kMostBytes = 1 << 20;

}  // namespace

Result<std::vector<DisplayToken>> ShowTokens(const Tokenizer& tokenizer, const std::string& text,
                                             size_t before) {
  if (before + text.size() > kMostBytes)
    return InvalidArgument("`inputs` has " + std::to_string(before + text.size()) +
                           " bytes or more, at most " + std::to_string(kMostBytes) +
                           " are tokenised at a time: split the request");
  PairOptions options;
  options.max_length = std::numeric_limits<int>::max();
  return tokenizer.Explain(text, {}, options);
}

}  // namespace rerankd::serving
