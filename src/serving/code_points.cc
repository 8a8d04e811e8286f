#include "serving/code_points.h"

#include <algorithm>

namespace rerankd::serving {
namespace {

bool StartsCodePoint(char c) { return (c & 0xC0) != 0x80; }

}  // namespace

int64_t CountCodePoints(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), StartsCodePoint);
}

std::string_view CodePointCutter::Cut(int begin, int end) {
  const size_t from = ByteOf(begin);
  return text_.substr(from, ByteOf(end) - from);
}

size_t CodePointCutter::ByteOf(int code_point) {
  if (code_point < code_point_) byte_ = 0, code_point_ = 0;
  while (code_point_ < code_point && byte_ < text_.size()) {
    do {
      ++byte_;
    } while (byte_ < text_.size() && !StartsCodePoint(text_[byte_]));
    ++code_point_;
  }
  return byte_;
}

}  // namespace rerankd::serving
