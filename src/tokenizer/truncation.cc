#include "tokenizer/truncation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace rerankd {
namespace {

// As Hugging Face `tokenizers` 0.23.2: a text counts at most max_length tokens; the longer one is cut to the
// room left, or both to half the room, the odd token staying with the longer one (with the document if they
// count alike).
TextLengths LongestFirst(TextLengths full, size_t room, size_t max_length) {
  size_t shorter = std::min(full.query, max_length), longer = std::min(full.document, max_length);
  const bool swapped = shorter > longer;
  if (swapped) std::swap(shorter, longer);
  if (shorter <= room / 2) {
    longer = room - shorter;
  } else {
    shorter = room / 2;
    longer = room - shorter;
  }
  return swapped ? TextLengths{longer, shorter} : TextLengths{shorter, longer};
}

}  // namespace

Result<TextLengths> FitPair(TextLengths full, size_t overhead, const PairOptions& options) {
  if (options.max_length < 0 || static_cast<size_t>(options.max_length) < overhead)
    return InvalidArgument(fmt::format("max_length {} leaves no room for the {} special tokens: raise it",
                                       options.max_length, overhead));
  const size_t room = static_cast<size_t>(options.max_length) - overhead;
  if (full.query + full.document <= room) return full;
  switch (options.truncation) {
    case Truncation::kLongestFirst:
      return LongestFirst(full, room, static_cast<size_t>(options.max_length));
    case Truncation::kDocumentOnly:
      if (full.query > room)
        return InvalidArgument(fmt::format(
            "the query has {} tokens, more than the {} that max_length {} leaves: shorten it or allow its "
            "truncation",
            full.query, room, options.max_length));
      return TextLengths{full.query, room - full.query};
    case Truncation::kError:
      break;
  }
  return InvalidArgument(
      fmt::format("the input has {} tokens, more than max_length {}: shorten it or allow truncation",
                  full.query + full.document + overhead, options.max_length));
}

}  // namespace rerankd
