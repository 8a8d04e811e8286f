// Tokens that are found in raw text before anything else happens to it: "[SEP]" and its like. Immutable after
// the last Add: thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rerankd {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = true;
};

class AddedTokens {
 public:
  void Add(AddedToken token);
  const std::vector<AddedToken>& tokens() const { return tokens_; }  // longest first

  struct Match {
    size_t begin;             // text.size() if there is none
    const AddedToken* token;  // null if there is none
  };
  // The leftmost, then longest token in `text` at or after `from`.
  Match Find(std::string_view text, size_t from) const;

 private:
  size_t NextCandidate(std::string_view text, size_t from) const;

  std::vector<AddedToken> tokens_;
  std::string first_bytes_;  // distinct
};

}  // namespace rerankd
