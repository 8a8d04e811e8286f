// Any bytes as tokenizer.json: an error or a tokenizer that works, never a crash.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto tokenizer = rerankd::ParseTokenizerJson(text);
  if (!tokenizer.ok()) return 0;
  std::vector<int32_t> ids;
  (*tokenizer)->EncodeText("unaffable [SEP] \xC3\xA9 water", false, &ids);
  // Display reads the text of every id that the file's templates can name.
  const auto shown = (*tokenizer)->Explain("the sea", "water", {});
  if (!shown.ok()) return 0;  // a template of more than 512 tokens
  for (const rerankd::DisplayToken& token : *shown)
    if (token.id < 0 || token.id >= (*tokenizer)->vocab_size()) std::abort();
  return 0;
}
