#include "tokenizer/unicode.h"

#include <algorithm>
#include <iterator>

namespace rerankd::unicode {
namespace {

struct Mapping {
  uint32_t from : 24;
  uint32_t : 8;
  uint16_t begin;  // into the pool
  uint16_t length;
};

constexpr size_t kBlockSize = 128;

#include "tokenizer/unicode_tables.inc"

constexpr char32_t kHangulFirst = 0xAC00, kHangulLast = 0xD7A3;

std::span<const char32_t> DecomposeHangul(char32_t c, char32_t (&buffer)[kMaxDecomposition]) {
  const char32_t index = c - kHangulFirst;
  buffer[0] = 0x1100 + index / 588;
  buffer[1] = 0x1161 + index % 588 / 28;
  buffer[2] = 0x11A7 + index % 28;
  return {buffer, index % 28 == 0 ? size_t{2} : size_t{3}};
}

std::span<const char32_t> Map(std::span<const Mapping> mappings, const char32_t* pool, char32_t c,
                              char32_t (&buffer)[kMaxDecomposition]) {
  const auto found = std::lower_bound(mappings.begin(), mappings.end(), c,
                                      [](const Mapping& m, char32_t value) { return m.from < value; });
  if (found != mappings.end() && found->from == c) return {pool + found->begin, found->length};
  buffer[0] = c;
  return {buffer, 1};
}

struct Sequence {
  size_t length = 0;                // 0: `lead` starts no sequence
  uint8_t low = 0x80, high = 0xBF;  // bounds of the second byte
};

Sequence SequenceOf(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {2};
  if (lead == 0xE0) return {3, 0xA0};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {3};
  if (lead == 0xF0) return {4, 0x90};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  if (lead >= 0xF1 && lead <= 0xF3) return {4};
  return {};
}

}  // namespace

Properties PropertiesOf(char32_t c) {
  return Properties(kProperties[kBlockOf[c / kBlockSize] * kBlockSize + c % kBlockSize]);
}

std::span<const char32_t> Decompose(char32_t c, char32_t (&buffer)[kMaxDecomposition]) {
  if (c >= kHangulFirst && c <= kHangulLast) return DecomposeHangul(c, buffer);
  return Map(kDecompositions, kDecompositionsPool, c, buffer);
}

std::span<const char32_t> Lowercase(char32_t c, char32_t (&buffer)[kMaxDecomposition]) {
  return Map(kLowercases, kLowercasesPool, c, buffer);
}

Decoded DecodeUtf8(const uint8_t* p, const uint8_t* end) {
  if (*p < 0x80) return {*p, 1};
  const Sequence sequence = SequenceOf(*p);
  const auto left = static_cast<size_t>(end - p);
  if (sequence.length == 0 || left < 2 || p[1] < sequence.low || p[1] > sequence.high)
    return {kReplacement, 1};
  auto c = static_cast<char32_t>(*p & (0x7F >> sequence.length)) << 6 | (p[1] & 0x3F);
  for (size_t i = 2; i < sequence.length; ++i) {
    if (i >= left || (p[i] & 0xC0) != 0x80) return {kReplacement, i};
    c = c << 6 | (p[i] & 0x3F);
  }
  return {c, sequence.length};
}

size_t EncodeUtf8(char32_t c, char* out) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xC0 | c >> 6);
    out[1] = tail(0);
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | c >> 12);
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | c >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

int CountCodePoints(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = p + text.size();
  int count = 0;
  for (; p < end; ++count) p += DecodeUtf8(p, end).length;
  return count;
}

}  // namespace rerankd::unicode
