// The WordPiece vocabulary: one hash probe for whole words, else longest match in time linear in the word
// (LinMaxMatch, arXiv 2012.15524). Immutable after Build: thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/piece_trie.h"

namespace rerankd {

class Vocabulary {
 public:
  // EncodeWord may read this many bytes beyond the word.
  static constexpr size_t kPadding = 8;

  // tokens[id] is the text of id; "" marks an unused id; of equal tokens the last wins. Words longer than
  // `max_word_chars` never reach EncodeWord. kFailedPrecondition if `unknown` is absent or the vocabulary is
  // too large.
  static Result<Vocabulary> Build(std::vector<std::string> tokens, std::string_view unknown,
                                  int max_word_chars);

  // Gives an unused id a text for display; such a token is never a piece of a word.
  void SetText(int32_t id, std::string text);

  int size() const { return static_cast<int>(tokens_.size()); }  // largest id + 1
  int32_t unknown_id() const { return unknown_id_; }
  const std::string& token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  // Is it a piece that continues a word ("##…")?
  bool continues(int32_t id) const { return id >= 0 && id < size() && token(id).starts_with("##"); }
  // The id of a token that does not continue a word ("##...").
  std::optional<int32_t> Find(std::string_view token) const;

  // Appends the pieces of a normalised, non-empty word, or the unknown id if it has none.
  void EncodeWord(std::string_view word, std::vector<int32_t>* ids) const;

 private:
  // Words of up to 8 bytes are their own key; longer ones are keyed by hash and compared.
  struct Slot {
    uint64_t key = 0;
    uint32_t length = 0;  // 0 = free
    int32_t id = 0;
  };

  void IndexTokens(int max_word_chars);
  void InsertWord(std::string_view padded_word, int32_t id);
  int32_t FindWord(std::string_view padded_word) const;  // -1 = absent

  std::vector<std::string> tokens_;
  int32_t unknown_id_ = 0;
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  PieceTrie trie_;
};

}  // namespace rerankd
