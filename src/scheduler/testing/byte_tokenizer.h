// A tokenizer for tests: a token is a byte, [CLS] = 256, [SEP] = 257, a pair is [CLS] query [SEP] document
// [SEP] with the document cut on the right. A document that begins with '!' cannot be encoded.
#pragma once

#include <algorithm>
#include <atomic>
#include <string_view>
#include <vector>

#include "core/tokenizer.h"

namespace rerankd {

class ByteTokenizer final : public Tokenizer {
 public:
  int vocab_size() const override { return 258; }
  int pair_overhead() const override { return 3; }

  void EncodeText(std::string_view text, bool /*escape_special*/, std::vector<int32_t>* ids) const override {
    ++encoded_queries;
    for (const char c : text) ids->push_back(static_cast<uint8_t>(c));
  }

  Status AppendPair(std::span<const int32_t> query, std::string_view document, const PairOptions& options,
                    EncodedPairs* out) const override {
    if (document.starts_with('!')) return InvalidArgument("cannot be encoded");
    const int fixed = static_cast<int>(query.size()) + 3;
    if (fixed > options.max_length) return InvalidArgument("the query is too long");
    const std::string_view kept = document.substr(0, static_cast<size_t>(options.max_length - fixed));
    out->PushToken(256, 0);
    out->PushTokens(query, 0);
    out->PushToken(257, 0);
    for (const char c : kept) out->PushToken(static_cast<uint8_t>(c), 1);
    out->PushToken(257, 1);
    out->ClosePair(fixed + static_cast<int>(document.size()));
    return {};
  }

  Result<std::vector<DisplayToken>> Explain(std::string_view, std::string_view,
                                            const PairOptions&) const override {
    return FailedPrecondition("not for people");
  }

  mutable std::atomic<int> encoded_queries{0};
};

}  // namespace rerankd
