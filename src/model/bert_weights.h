// The weights of a BERT cross-encoder, ready to run: matrices packed for one kernel set. Immutable; shared by
// all instances of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/gemm.h"
#include "weights/model_config.h"
#include "weights/tensor_source.h"

namespace rerankd {

struct LayerNormWeights {
  std::span<const float> gamma, beta;  // [hidden]
};

// One encoder layer. Queries carry the factor 1 / sqrt(head size).
struct LayerWeights {
  // [3 x hidden]: queries, keys, values. The last layer has `query` [hidden] and `key_value` [2 x hidden]
  // instead, because it asks for [CLS] only.
  std::unique_ptr<const Linear> query_key_value, query, key_value;
  std::unique_ptr<const Linear> attention_output;
  std::unique_ptr<const Linear> intermediate, output;  // with the activation between them
  LayerNormWeights attention_norm, output_norm;
};

struct EmbeddingWeights {
  EmbeddingTable words;                     // [vocabulary, hidden]; int8 where the file stores it so
  std::span<const float> positions, types;  // [positions | types, hidden]
  LayerNormWeights norm;
};

struct BertWeights {
  ModelConfig config;
  const KernelSet* kernels = nullptr;
  GemmProvider provider = GemmProvider::kOwn;
  Precision precision = Precision::kFp32;  // of the encoder's products; pooler and classifier are fp32

  EmbeddingWeights embeddings;
  std::vector<LayerWeights> layers;
  std::unique_ptr<const Linear> pooler, classifier;

  std::optional<TensorSource> source;  // embeddings may be views into its file
  Arena arena;                         // owns everything else
  int64_t view_bytes = 0;              // of embeddings that stay in the file

  int64_t bytes() const { return arena.bytes() + view_bytes; }
};

// Takes the source. Errors name the tensor at fault.
Result<std::shared_ptr<const BertWeights>> MakeBertWeights(const ModelConfig& config, TensorSource source,
                                                           const KernelSet& kernels, GemmProvider provider,
                                                           Precision precision = Precision::kFp32);

}  // namespace rerankd
