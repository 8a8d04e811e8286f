// Any bytes as query and document: no crash, and the hot path, the display path and the limits agree.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace {

using rerankd::PairOptions;
using rerankd::Tokenizer;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::unique_ptr<Tokenizer> Make(int switches) {
  rerankd::TokenizerConfig config;
  config.clean_text = switches & 1;
  config.chinese_chars = switches & 2;
  config.lowercase = switches & 4;
  config.strip_accents = (switches & 8) != 0;
  config.max_input_chars_per_word = 20;
  const std::vector<std::string> vocab = {
      "[PAD]",        "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",   "b",         "ab",       "abc",
      "##a",          "##b",   "##bc",  "##cab", "##c",    "e",   "##e",       "\xC3\xA9", "##\xC3\xA9",
      "\xE4\xB8\xAD", "!",     "[",     "]",     "sep",    "##d", "##\xCC\x81"};
  return rerankd::MakeTokenizerFromVocab(vocab, config).value();
}

const Tokenizer& TokenizerFor(int switches) {
  static const std::vector<std::unique_ptr<Tokenizer>>* const all = [] {
    auto* made = new std::vector<std::unique_ptr<Tokenizer>>;
    for (int i = 0; i < 16; ++i) made->push_back(Make(i));
    return made;
  }();
  return *(*all)[static_cast<size_t>(switches)];
}

PairOptions OptionsOf(FuzzedDataProvider* data) {
  PairOptions options;
  options.max_length = data->ConsumeIntegralInRange(-1, 64);
  options.truncation = static_cast<rerankd::Truncation>(data->ConsumeIntegralInRange(0, 2));
  options.truncate_left = data->ConsumeBool();
  options.escape_special = data->ConsumeBool();
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  const Tokenizer& tokenizer = TokenizerFor(data.ConsumeIntegralInRange(0, 15));
  const PairOptions options = OptionsOf(&data);
  const std::string query = data.ConsumeRandomLengthString(), document = data.ConsumeRemainingBytesAsString();

  std::vector<int32_t> ids;
  tokenizer.EncodeText(query, options.escape_special, &ids);
  rerankd::EncodedPairs out;
  const bool fits = tokenizer.AppendPair(ids, document, options, &out).ok();
  const auto shown = tokenizer.Explain(query, document, options);
  Require(shown.ok() == fits);
  if (!fits) return 0;
  Require(out.length(0) <= options.max_length && out.length(0) <= out.full_length(0));
  Require(shown->size() == out[0].ids.size());
  for (size_t i = 0; i < shown->size(); ++i) {
    const rerankd::DisplayToken& token = (*shown)[i];
    Require(token.id == out[0].ids[i] && token.type_id == out[0].type_ids[i]);
    Require(token.id >= 0 && token.id < tokenizer.vocab_size());
    Require(0 <= token.begin && token.begin <= token.end);
    Require(token.end <= static_cast<int>(token.type_id == 0 ? query.size() : document.size()));
  }
  return 0;
}
