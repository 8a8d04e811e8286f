// What a Hugging Face config.json says about a cross-encoder, checked: the shape of the network and how its
// logits are meant to be read. Supported: BertForSequenceClassification with absolute positions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/encoding.h"
#include "core/scoring.h"

namespace rerankd {

enum class HiddenActivation {
  kGelu,      // exact, with erf
  kGeluTanh,  // "gelu_new", "gelu_pytorch_tanh"
  kRelu,
};

enum class WeightStorage {
  kFloat,  // F32, F16 or BF16
  kInt8,   // "rerankd-int8": matrices as int8 rows with one fp32 scale each (tensor_source.h)
};

struct ModelConfig {
  int hidden_size = 0;
  int num_layers = 0;
  int num_heads = 0;  // divides hidden_size
  int intermediate_size = 0;
  int vocab_size = 0;
  int max_positions = 0;    // longest pair in tokens
  int type_vocab_size = 0;  // at least 2
  float layer_norm_eps = 1e-12F;
  HiddenActivation hidden_activation = HiddenActivation::kGelu;
  int num_labels = 1;
  std::vector<std::string> labels;               // [num_labels]
  Activation activation = Activation::kSigmoid;  // what the model's authors apply to its logits
  WeightStorage storage = WeightStorage::kFloat;

  int head_size() const { return hidden_size / num_heads; }
};

// kInvalidArgument: malformed or out of bounds; kFailedPrecondition: well-formed but not supported.
// `source` names the text in errors.
Result<ModelConfig> ParseModelConfig(std::string_view json, const std::string& source);

// config.json of a model folder; the activation in config_sentence_transformers.json wins where there is one.
Result<ModelConfig> LoadModelConfig(const std::string& directory);

// Do the ids of a tokenizer with `tokenizer_size` pieces fit the embedding table of the model?
Status CheckVocabulary(const ModelConfig& config, int tokenizer_size);

// kInvalidArgument unless `pair` has 1 .. max_positions tokens, all inside the embedding tables.
Status CheckPair(const ModelConfig& config, const EncodedPair& pair);
// All pairs, and that there is room for exactly their logits.
Status CheckBatch(const ModelConfig& config, const Batch& batch, size_t room);

}  // namespace rerankd
