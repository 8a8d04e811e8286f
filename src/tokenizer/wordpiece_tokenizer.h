// The BERT WordPiece tokenizer: added tokens, normalisation, word split, WordPiece, template, truncation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/tokenizer.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_stream.h"

namespace rerankd {

// The special tokens around and between the texts.
struct EncodingTemplate {
  struct Special {
    int32_t id;
    uint8_t type_id;
  };
  std::vector<Special> before, between, after;
  uint8_t query_type = 0;
  uint8_t document_type = 1;

  size_t overhead() const { return before.size() + between.size() + after.size(); }
};

struct WordPieceSpec {
  std::vector<std::string> vocab;  // by id; added tokens need not be in it
  std::string unknown_token = "[UNK]";
  int max_word_chars = 100;
  Normalization normalization;
  std::vector<AddedToken> added;
  EncodingTemplate single;  // its text is the query
  EncodingTemplate pair;
};

class WordPieceTokenizer final : public Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> Make(WordPieceSpec spec);

  int vocab_size() const override { return vocabulary_.size(); }
  int pair_overhead() const override { return static_cast<int>(pair_.overhead()); }
  void EncodeText(std::string_view text, bool escape_special, std::vector<int32_t>* ids) const override;
  Status AppendEncoded(std::span<const int32_t> query, std::span<const int32_t> document,
                       const PairOptions& options, EncodedPairs* out) const override;
  Result<std::vector<DisplayToken>> Explain(std::string_view text, std::string_view pair,
                                            const PairOptions& options) const override;

 private:
  WordPieceTokenizer(WordPieceSpec spec, Vocabulary vocabulary);

  // Calls on_text(segment) and on_token(token, begin byte) in the order of the text.
  template <typename OnText, typename OnToken>
  void Segment(std::string_view text, bool escape_special, OnText on_text, OnToken on_token) const;
  std::vector<DisplayToken> Display(std::string_view text, uint8_t type_id, bool escape_special) const;

  Vocabulary vocabulary_;
  WordRules rules_;
  AddedTokens added_;
  EncodingTemplate single_, pair_;
};

}  // namespace rerankd
