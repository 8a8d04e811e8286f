#include "tokenizer/truncation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace rerankd {
namespace {

// Cuts the longer text to the room left, or both to half the room; the odd token stays with the longer one,
// with the document if they count alike.
TextLengths LongestFirst(TextLengths counted, size_t room) {
  size_t shorter = counted.query, longer = counted.document;
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

Result<TextLengths> FitPair(TextLengths full, TextLengths counted, size_t overhead,
                            const PairOptions& options) {
  if (options.max_length < 0 || static_cast<size_t>(options.max_length) < overhead)
    return InvalidArgument(fmt::format("max_length {} leaves no room for the {} special tokens: raise it",
                                       options.max_length, overhead));
  const size_t room = static_cast<size_t>(options.max_length) - overhead;
  if (full.query + full.document <= room) return full;
  switch (options.truncation) {
    case Truncation::kLongestFirst:
      return LongestFirst(counted, room);
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
