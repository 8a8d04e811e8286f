#include "tokenizer/word_stream.h"

namespace rerankd {
namespace {

using Action = WordRules::Action;

Action ActionOf(uint8_t byte, const Normalization& normalization) {
  if (byte >= 0x80) return Action::kGeneral;
  const unicode::Properties properties = unicode::PropertiesOf(byte);
  if (normalization.clean_text && properties.clean() == unicode::Clean::kDrop) return Action::kDrop;
  if (properties.kind() == unicode::Kind::kSpace) return Action::kSpace;
  if (properties.kind() == unicode::Kind::kPunctuation) return Action::kPunctuation;
  return byte == 0 ? Action::kGeneral : Action::kLetter;  // a letter of 0 would mean "no letter"
}

}  // namespace

WordRules::WordRules(const Normalization& normalization, int max_word_chars)
    : normalization_(normalization), max_word_chars_(static_cast<size_t>(max_word_chars)) {
  for (size_t i = 0; i < actions_.size(); ++i) {
    const auto byte = static_cast<uint8_t>(i);
    actions_[i] = ActionOf(byte, normalization);
    const bool upper = byte >= 'A' && byte <= 'Z';
    if (actions_[i] == Action::kLetter)
      letters_[i] = static_cast<char>(upper && normalization.lowercase ? byte + ('a' - 'A') : byte);
  }
}

}  // namespace rerankd
