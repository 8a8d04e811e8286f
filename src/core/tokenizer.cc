#include "core/tokenizer.h"

namespace rerankd {

Status Tokenizer::AppendPair(std::span<const int32_t> query, std::string_view document,
                             const PairOptions& options, EncodedPairs* out) const {
  thread_local std::vector<int32_t> ids;
  ids.clear();
  EncodeText(document, options.escape_special, &ids);
  return AppendEncoded(query, ids, options, out);
}

}  // namespace rerankd
