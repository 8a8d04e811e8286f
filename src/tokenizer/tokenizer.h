// Loads the BERT WordPiece tokenizer behind core/tokenizer.h. Behaviour equals Hugging Face `tokenizers`
// (version in unicode_tables.inc). Each ill-formed UTF-8 subpart counts as U+FFFD, which clean_text removes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/tokenizer.h"

namespace rerankd {

// What a vocabulary alone does not say; the defaults are those of bert-base-uncased.
struct TokenizerConfig {
  bool lowercase = true;
  std::optional<bool> strip_accents;  // absent = as lowercase
  bool clean_text = true;
  bool chinese_chars = true;
  std::string unknown_token = "[UNK]";
  std::string cls_token = "[CLS]";
  std::string sep_token = "[SEP]";
  std::string pad_token = "[PAD]";
  std::string mask_token = "[MASK]";
  int max_input_chars_per_word = 100;
};

// Reads `directory`/tokenizer.json or, where that is absent, vocab.txt with tokenizer_config.json (optional).
// "truncation" and "padding" of tokenizer.json are ignored: PairOptions decide. kNotFound if neither file
// exists; kFailedPrecondition naming whatever in them is not supported.
Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory);

// The same from the text of a tokenizer.json.
Result<std::unique_ptr<Tokenizer>> ParseTokenizerJson(std::string_view json);

// vocab[id] is the text of id. The five special tokens must be in it, except pad and mask.
Result<std::unique_ptr<Tokenizer>> MakeTokenizerFromVocab(std::vector<std::string> vocab,
                                                          const TokenizerConfig& config = {});

}  // namespace rerankd
