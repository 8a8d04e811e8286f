#include "tokenizer/vocabulary.h"

#include <bit>
#include <cstring>
#include <utility>

namespace rerankd {
namespace {

constexpr std::string_view kContinuation = "##";

uint64_t Load8(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

uint64_t Mix(uint64_t x) {
  x *= 0x9E3779B97F4A7C15u;
  return x ^ x >> 32;
}

// The first `length` <= 8 bytes at `p`, the rest zero; reads 8.
uint64_t LoadPartial(const char* p, size_t length) {
  static_assert(std::endian::native == std::endian::little);
  return length == 8 ? Load8(p) : Load8(p) & ((uint64_t{1} << (8 * length)) - 1);
}

uint64_t KeyOf(std::string_view padded_word) {
  const char* p = padded_word.data();
  size_t left = padded_word.size();
  if (left <= 8) return LoadPartial(p, left);
  uint64_t key = left;
  for (; left > 8; p += 8, left -= 8) key = Mix(key ^ Load8(p));
  return Mix(key ^ LoadPartial(p, left));
}

size_t HashOf(uint64_t key, size_t length) { return static_cast<size_t>(Mix(Mix(key + length))); }

std::string Padded(std::string_view word) {
  std::string padded(word);
  padded.append(Vocabulary::kPadding, '\0');
  return padded;
}

}  // namespace

Result<Vocabulary> Vocabulary::Build(std::vector<std::string> tokens, std::string_view unknown,
                                     int max_word_chars) {
  Vocabulary vocabulary;
  vocabulary.tokens_ = std::move(tokens);
  size_t bytes = 0;
  for (const std::string& token : vocabulary.tokens_) bytes += token.size();
  if (bytes >= PieceTrie::kMaxNodes)
    return FailedPrecondition("the vocabulary has " + std::to_string(bytes) + " bytes, more than " +
                              std::to_string(PieceTrie::kMaxNodes));
  vocabulary.trie_ = PieceTrie(bytes);
  vocabulary.IndexTokens(max_word_chars);
  const std::optional<int32_t> id = vocabulary.Find(unknown);
  if (!id)
    return FailedPrecondition("the vocabulary has no unknown token '" + std::string(unknown) +
                              "': add it or set unk_token");
  vocabulary.unknown_id_ = *id;
  return vocabulary;
}

void Vocabulary::SetText(int32_t id, std::string text) {
  const auto index = static_cast<size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  tokens_[index] = std::move(text);
}

void Vocabulary::IndexTokens(int max_word_chars) {
  slots_.resize(std::bit_ceil(tokens_.size() * 2 + 1));
  mask_ = slots_.size() - 1;
  const size_t longest = static_cast<size_t>(max_word_chars) * 4;
  std::string padded;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    std::string_view piece = tokens_[i];
    const auto id = static_cast<int32_t>(i);
    // "##" cannot begin a word: the pre-tokenizer isolates every '#'.
    const bool continuing = piece.starts_with(kContinuation);
    if (continuing) piece.remove_prefix(kContinuation.size());
    if (piece.empty()) continue;
    if (!continuing) {
      padded.assign(piece);
      padded.append(kPadding, '\0');
      InsertWord({padded.data(), piece.size()}, id);
    }
    if (piece.size() <= longest) trie_.Insert(piece, continuing, id);
  }
  trie_.Link();
}

void Vocabulary::InsertWord(std::string_view padded_word, int32_t id) {
  const uint64_t key = KeyOf(padded_word);
  const auto length = static_cast<uint32_t>(padded_word.size());
  size_t at = HashOf(key, padded_word.size()) & mask_;
  while (slots_[at].length != 0 &&
         !(slots_[at].key == key && slots_[at].length == length && token(slots_[at].id) == padded_word))
    at = (at + 1) & mask_;
  slots_[at] = {key, length, id};
}

int32_t Vocabulary::FindWord(std::string_view padded_word) const {
  const size_t length = padded_word.size();
  const uint64_t key = KeyOf(padded_word);
  for (size_t at = HashOf(key, length) & mask_; slots_[at].length != 0; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.key == key && slot.length == length && (length <= 8 || token(slot.id) == padded_word))
      return slot.id;
  }
  return -1;
}

std::optional<int32_t> Vocabulary::Find(std::string_view token) const {
  const std::string padded = Padded(token);
  const int32_t id = FindWord({padded.data(), token.size()});
  return id < 0 ? std::nullopt : std::optional(id);
}

void Vocabulary::EncodeWord(std::string_view word, std::vector<int32_t>* ids) const {
  if (const int32_t id = FindWord(word); id >= 0) {
    ids->push_back(id);
  } else if (!trie_.Split(word, ids)) {
    ids->push_back(unknown_id_);
  }
}

}  // namespace rerankd
