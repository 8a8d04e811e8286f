// Unicode as Hugging Face's BertNormalizer and BertPreTokenizer see it: properties, canonical decomposition,
// lower-casing and lenient UTF-8 decoding. Pure functions over generated tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rerankd::unicode {

constexpr char32_t kReplacement = 0xFFFD;

// How clean_text treats a code point, and how the pre-tokenizer does.
enum class Clean : uint8_t { kKeep, kDrop, kToSpace };
enum class Kind : uint8_t { kWord, kSpace, kPunctuation };

class Properties {
 public:
  explicit constexpr Properties(uint16_t bits) : bits_(bits) {}
  constexpr Clean clean() const { return static_cast<Clean>(bits_ & 3); }
  constexpr bool chinese() const { return bits_ & 4; }
  constexpr bool nonspacing_mark() const { return bits_ & 8; }
  constexpr Kind kind() const { return static_cast<Kind>(bits_ >> 4 & 3); }
  constexpr bool decomposes() const { return bits_ & 64; }
  constexpr bool has_lowercase() const { return bits_ & 128; }
  constexpr uint8_t combining_class() const { return static_cast<uint8_t>(bits_ >> 8); }

 private:
  uint16_t bits_;
};

// Of any value up to U+10FFFF.
Properties PropertiesOf(char32_t c);

constexpr size_t kMaxDecomposition = 4;

// The full canonical decomposition of `c`, of length 1 if it has none. `buffer` backs the result where no
// table does.
std::span<const char32_t> Decompose(char32_t c, char32_t (&buffer)[kMaxDecomposition]);
// The lower case of `c` (several code points for U+0130), `c` itself if it has none.
std::span<const char32_t> Lowercase(char32_t c, char32_t (&buffer)[kMaxDecomposition]);

struct Decoded {
  char32_t code_point;
  size_t length;  // bytes read, at least 1
};

// The code point at the start of [p, end), p < end. A maximal ill-formed subpart (Unicode 3.9, table 3-7)
// reads as U+FFFD.
Decoded DecodeUtf8(const uint8_t* p, const uint8_t* end);

// Writes `c` at `out` (room for 4 bytes); returns the bytes written.
size_t EncodeUtf8(char32_t c, char* out);

// Code points of `text` as DecodeUtf8 counts them.
int CountCodePoints(std::string_view text);

}  // namespace rerankd::unicode
