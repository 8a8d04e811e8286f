// A tokenizer for tests: a token is a byte, [CLS] = 256, [SEP] = 257, a pair is [CLS] query [SEP] document
// [SEP] with the document cut on the right. A document that begins with '!' cannot be encoded.
#pragma once

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer.h"

namespace rerankd {

class ByteTokenizer final : public Tokenizer {
 public:
  int vocab_size() const override { return 258; }
  int pair_overhead() const override { return 3; }

  void EncodeText(std::string_view text, bool /*escape_special*/, std::vector<int32_t>* ids) const override {
    ++encoded_texts;
    for (const char c : text) ids->push_back(static_cast<uint8_t>(c));
  }

  Status AppendEncoded(std::span<const int32_t> query, std::span<const int32_t> document,
                       const PairOptions& options, EncodedPairs* out) const override {
    if (!document.empty() && document[0] == '!') return InvalidArgument("cannot be encoded");
    const int fixed = static_cast<int>(query.size()) + 3;
    const int full = fixed + static_cast<int>(document.size());
    if (fixed > options.max_length) return InvalidArgument("the query is too long");
    if (options.truncation == Truncation::kError && full > options.max_length)
      return InvalidArgument("the pair has " + std::to_string(full) + " tokens");
    const auto kept =
        document.first(std::min(document.size(), static_cast<size_t>(options.max_length - fixed)));
    out->PushToken(256, 0);
    out->PushTokens(query, 0);
    out->PushToken(257, 0);
    out->PushTokens(kept, 1);
    out->PushToken(257, 1);
    out->ClosePair(full);
    return {};
  }

  Result<std::vector<DisplayToken>> Explain(std::string_view, std::string_view,
                                            const PairOptions&) const override {
    return FailedPrecondition("not for people");
  }

  mutable std::atomic<int> encoded_texts{0};
};

}  // namespace rerankd
