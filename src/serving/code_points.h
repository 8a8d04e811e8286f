// Unicode code points of valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rerankd::serving {

int64_t CountCodePoints(std::string_view utf8);

// Cuts a text at code point offsets. Offsets that ascend, as those of tokens do, cost one pass over the text.
class CodePointCutter {
 public:
  explicit CodePointCutter(std::string_view utf8) : text_(utf8) {}
  // Code points [begin, end); as much of it as the text has.
  std::string_view Cut(int begin, int end);

 private:
  size_t ByteOf(int code_point);

  std::string_view text_;
  size_t byte_ = 0;  // where code point code_point_ starts
  int code_point_ = 0;
};

}  // namespace rerankd::serving
