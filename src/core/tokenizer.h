// The port behind which a tokenizer stands. Implementations are immutable after loading: every call is
// thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/encoding.h"

namespace rerankd {

enum class Truncation {
  kLongestFirst,  // take tokens from the longer text until the pair fits (Hugging Face "longest_first")
  kDocumentOnly,  // the query is protected; only the document is cut
  kError,         // a pair that does not fit is kInvalidArgument, naming its tokens and the limit
};

struct PairOptions {
  int max_length = 512;  // tokens of a pair, the special ones included
  Truncation truncation = Truncation::kLongestFirst;
  bool truncate_left = false;   // drop the first tokens instead of the last ones
  bool escape_special = false;  // literal "[SEP]" in user text is plain text, not the special token
};

// One token for display: `begin`, `end` are Unicode code point offsets into its text (0, 0 for special
// tokens).
struct DisplayToken {
  int32_t id = 0;
  std::string token;
  uint8_t type_id = 0;
  int begin = 0;
  int end = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual int vocab_size() const = 0;
  // Special tokens that a pair adds: 3 for BERT ([CLS] q [SEP] d [SEP]).
  virtual int pair_overhead() const = 0;

  // Appends the ids of `text`, without special tokens, to *ids. Bytes that are not UTF-8 count as U+FFFD
  // (callers that must refuse them check with FirstInvalidUtf8 first).
  virtual void EncodeText(std::string_view text, bool escape_special, std::vector<int32_t>* ids) const = 0;

  // Appends one pair to *out: query and document as encoded by EncodeText.
  // kInvalidArgument if the pair cannot be made to fit (max_length < pair_overhead, or a protected query is
  // too long).
  virtual Status AppendEncoded(std::span<const int32_t> query, std::span<const int32_t> document,
                               const PairOptions& options, EncodedPairs* out) const = 0;

  // The same with the document as text.
  Status AppendPair(std::span<const int32_t> query, std::string_view document, const PairOptions& options,
                    EncodedPairs* out) const;

  // What `text` (and `pair`, unless its data() is null) becomes, special tokens included, for people to read.
  virtual Result<std::vector<DisplayToken>> Explain(std::string_view text, std::string_view pair,
                                                    const PairOptions& options) const = 0;
};

}  // namespace rerankd
