#include "model/bert_weights.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>

namespace rerankd {
namespace {

// A dense layer as read: weight [outputs, inputs] and bias.
struct Dense {
  std::vector<float> weight, bias;
  int outputs = 0, inputs = 0;
};

PostOp PostOpOf(HiddenActivation activation) {
  switch (activation) {
    case HiddenActivation::kGeluTanh:
      return PostOp::kGeluTanh;
    case HiddenActivation::kRelu:
      return PostOp::kRelu;
    case HiddenActivation::kGelu:
      break;
  }
  return PostOp::kGelu;
}

void Scale(float factor, Dense* dense) {
  for (float& w : dense->weight) w *= factor;
  for (float& b : dense->bias) b *= factor;
}

// The same input for all of them: their outputs side by side.
Dense Stack(std::initializer_list<const Dense*> parts) {
  Dense all;
  for (const Dense* part : parts) {
    all.weight.insert(all.weight.end(), part->weight.begin(), part->weight.end());
    all.bias.insert(all.bias.end(), part->bias.begin(), part->bias.end());
    all.outputs += part->outputs;
    all.inputs = part->inputs;
  }
  return all;
}

// Fills one BertWeights from its source, tensor by tensor.
class Loader {
 public:
  explicit Loader(BertWeights* weights)
      : w_(*weights), config_(weights->config), target_{w_.kernels, w_.provider, &w_.arena} {}

  Status Load() {
    RERANKD_RETURN_IF_ERROR(LoadEmbeddings());
    w_.layers.resize(static_cast<size_t>(config_.num_layers));
    for (int i = 0; i < config_.num_layers; ++i) RERANKD_RETURN_IF_ERROR(LoadLayer(i));
    const int hidden = config_.hidden_size;
    RERANKD_RETURN_IF_ERROR(LoadLinear("bert.pooler.dense", {hidden, hidden}, PostOp::kTanh, &w_.pooler));
    return LoadLinear("classifier", {config_.num_labels, hidden}, PostOp::kNone, &w_.classifier);
  }

 private:
  struct Size {
    int outputs, inputs;
  };

  // A table that is only looked up stays in the mapped file where its floats are aligned.
  Result<std::span<const float>> LoadTable(const std::string& name, int rows) {
    const Shape shape = {rows, config_.hidden_size};
    RERANKD_ASSIGN_OR_RETURN(const TensorView* view, w_.source->Get(name, shape));
    const bool aligned = reinterpret_cast<uintptr_t>(view->bytes.data()) % alignof(float) == 0;
    if (view->dtype == Dtype::kF32 && aligned) {
      const std::span<const float> table(reinterpret_cast<const float*>(view->bytes.data()),
                                         view->bytes.size() / sizeof(float));
      if (!std::all_of(table.begin(), table.end(), [](float v) { return std::isfinite(v); }))
        return InvalidArgument("tensor " + name + " has a value that is not finite; the file is damaged");
      w_.view_bytes += static_cast<int64_t>(view->bytes.size());
      return table;
    }
    return LoadCopy(name, shape);
  }

  Result<std::span<const float>> LoadCopy(const std::string& name, const Shape& shape) {
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> values, w_.source->ReadFloats(name, shape));
    const std::span<float> copy = w_.arena.Floats(values.size());
    std::copy(values.begin(), values.end(), copy.begin());
    return std::span<const float>(copy);
  }

  Status LoadNorm(const std::string& name, LayerNormWeights* norm) {
    RERANKD_ASSIGN_OR_RETURN(norm->gamma, LoadCopy(name + ".weight", {config_.hidden_size}));
    RERANKD_ASSIGN_OR_RETURN(norm->beta, LoadCopy(name + ".bias", {config_.hidden_size}));
    return {};
  }

  Result<Dense> ReadDense(const std::string& name, Size size) {
    Dense dense;
    RERANKD_ASSIGN_OR_RETURN(dense.weight,
                             w_.source->ReadFloats(name + ".weight", {size.outputs, size.inputs}));
    RERANKD_ASSIGN_OR_RETURN(dense.bias, w_.source->ReadFloats(name + ".bias", {size.outputs}));
    dense.outputs = size.outputs;
    dense.inputs = size.inputs;
    return dense;
  }

  Status Pack(const Dense& dense, PostOp post, std::unique_ptr<const Linear>* linear) {
    RERANKD_ASSIGN_OR_RETURN(
        *linear, MakeLinear({dense.weight, dense.bias, dense.outputs, dense.inputs, post}, target_));
    return {};
  }

  Status LoadLinear(const std::string& name, Size size, PostOp post, std::unique_ptr<const Linear>* linear) {
    RERANKD_ASSIGN_OR_RETURN(const Dense dense, ReadDense(name, size));
    return Pack(dense, post, linear);
  }

  Status LoadEmbeddings() {
    const std::string name = "bert.embeddings.";
    EmbeddingWeights& e = w_.embeddings;
    RERANKD_ASSIGN_OR_RETURN(e.words, LoadTable(name + "word_embeddings.weight", config_.vocab_size));
    RERANKD_ASSIGN_OR_RETURN(e.positions,
                             LoadTable(name + "position_embeddings.weight", config_.max_positions));
    RERANKD_ASSIGN_OR_RETURN(e.types,
                             LoadTable(name + "token_type_embeddings.weight", config_.type_vocab_size));
    return LoadNorm(name + "LayerNorm", &e.norm);
  }

  Status LoadLayer(int index) {
    const std::string name = "bert.encoder.layer." + std::to_string(index) + ".";
    const int hidden = config_.hidden_size, wide = config_.intermediate_size;
    LayerWeights& layer = w_.layers[static_cast<size_t>(index)];
    RERANKD_RETURN_IF_ERROR(LoadProjections(name + "attention.self.", index, &layer));
    RERANKD_RETURN_IF_ERROR(LoadLinear(name + "attention.output.dense", {hidden, hidden}, PostOp::kNone,
                                       &layer.attention_output));
    RERANKD_RETURN_IF_ERROR(LoadNorm(name + "attention.output.LayerNorm", &layer.attention_norm));
    RERANKD_RETURN_IF_ERROR(LoadLinear(name + "intermediate.dense", {wide, hidden},
                                       PostOpOf(config_.hidden_activation), &layer.intermediate));
    RERANKD_RETURN_IF_ERROR(LoadLinear(name + "output.dense", {hidden, wide}, PostOp::kNone, &layer.output));
    return LoadNorm(name + "output.LayerNorm", &layer.output_norm);
  }

  Status LoadProjections(const std::string& name, int index, LayerWeights* layer) {
    const Size size = {config_.hidden_size, config_.hidden_size};
    RERANKD_ASSIGN_OR_RETURN(Dense query, ReadDense(name + "query", size));
    RERANKD_ASSIGN_OR_RETURN(const Dense key, ReadDense(name + "key", size));
    RERANKD_ASSIGN_OR_RETURN(const Dense value, ReadDense(name + "value", size));
    Scale(1.0F / std::sqrt(static_cast<float>(config_.head_size())), &query);
    if (index + 1 < config_.num_layers)
      return Pack(Stack({&query, &key, &value}), PostOp::kNone, &layer->query_key_value);
    RERANKD_RETURN_IF_ERROR(Pack(query, PostOp::kNone, &layer->query));
    return Pack(Stack({&key, &value}), PostOp::kNone, &layer->key_value);
  }

  BertWeights& w_;
  const ModelConfig& config_;
  GemmTarget target_;
};

}  // namespace

Result<std::shared_ptr<const BertWeights>> MakeBertWeights(const ModelConfig& config, TensorSource source,
                                                           const KernelSet& kernels, GemmProvider provider) {
  auto weights = std::make_shared<BertWeights>();
  weights->config = config;
  weights->kernels = &kernels;
  weights->provider = provider;
  weights->source.emplace(std::move(source));
  RERANKD_RETURN_IF_ERROR(Loader(weights.get()).Load());
  return std::shared_ptr<const BertWeights>(std::move(weights));
}

}  // namespace rerankd
