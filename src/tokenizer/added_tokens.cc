#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

namespace rerankd {

void AddedTokens::Add(AddedToken token) {
  if (token.content.empty()) return;
  if (first_bytes_.find(token.content[0]) == std::string::npos) first_bytes_ += token.content[0];
  const auto shorter = std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& other) {
    return other.content.size() < token.content.size();
  });
  tokens_.insert(shorter, std::move(token));
}

size_t AddedTokens::NextCandidate(std::string_view text, size_t from) const {
  // find() of one byte is memchr; most vocabularies know only "[".
  return first_bytes_.size() == 1 ? text.find(first_bytes_[0], from) : text.find_first_of(first_bytes_, from);
}

AddedTokens::Match AddedTokens::Find(std::string_view text, size_t from) const {
  for (size_t at = NextCandidate(text, from); at != std::string_view::npos; at = NextCandidate(text, at + 1))
    for (const AddedToken& token : tokens_)
      if (text.substr(at).starts_with(token.content)) return {at, &token};
  return {text.size(), nullptr};
}

}  // namespace rerankd
