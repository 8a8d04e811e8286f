// Any bytes as a config.json: it is refused, or its sizes are within the promised bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "weights/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rerankd;
  const auto config = ParseModelConfig({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!config.ok()) return 0;
  const bool sound =
      config->num_heads > 0 && config->head_size() * config->num_heads == config->hidden_size &&
      config->type_vocab_size >= 2 && config->labels.size() == static_cast<size_t>(config->num_labels);
  if (!sound) std::abort();
  return 0;
}
