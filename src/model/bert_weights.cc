#include "model/bert_weights.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>

namespace rerankd {
namespace {

// A dense layer as read: weight [outputs, inputs] and bias. What is stored as int8 and will be multiplied as
// int8 keeps its codes and scales; its `weight` is empty.
struct Dense {
  std::vector<float> weight, bias;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  int outputs = 0, inputs = 0;

  LinearWeights View(PostOp post) const { return {weight, bias, outputs, inputs, post, codes, scales}; }
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
  for (float& s : dense->scales) s *= factor;
  for (float& b : dense->bias) b *= factor;
}

// The same input for all of them: their outputs side by side.
Dense Stack(std::initializer_list<const Dense*> parts) {
  Dense all;
  const auto append = [](const auto& from, auto* to) { to->insert(to->end(), from.begin(), from.end()); };
  for (const Dense* part : parts) {
    append(part->weight, &all.weight);
    append(part->bias, &all.bias);
    append(part->codes, &all.codes);
    append(part->scales, &all.scales);
    all.outputs += part->outputs;
    all.inputs = part->inputs;
  }
  return all;
}

// Fills one BertWeights from its source, tensor by tensor.
class Loader {
 public:
  explicit Loader(BertWeights* weights)
      : w_(*weights),
        config_(weights->config),
        encoder_{w_.kernels, w_.provider, &w_.arena, w_.precision},
        head_{w_.kernels, w_.provider, &w_.arena} {}

  Status Load() {
    RERANKD_RETURN_IF_ERROR(LoadEmbeddings());
    w_.layers.resize(static_cast<size_t>(config_.num_layers));
    for (int i = 0; i < config_.num_layers; ++i) RERANKD_RETURN_IF_ERROR(LoadLayer(i));
    const int hidden = config_.hidden_size;
    RERANKD_RETURN_IF_ERROR(LoadHead("bert.pooler.dense", {hidden, hidden}, PostOp::kTanh, &w_.pooler));
    return LoadHead("classifier", {config_.num_labels, hidden}, PostOp::kNone, &w_.classifier);
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
      w_.source->Release(name);
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

  Result<Dense> ReadDense(const std::string& name, Size size, Precision precision) {
    Dense dense;
    const Shape shape = {size.outputs, size.inputs};
    if (precision == Precision::kInt8 && w_.source->IsInt8(name + ".weight")) {
      RERANKD_ASSIGN_OR_RETURN(Int8Matrix stored, w_.source->ReadInt8(name + ".weight", shape));
      dense.codes.assign(stored.values.begin(), stored.values.end());
      w_.source->Release(name + ".weight");
      dense.scales = std::move(stored.scales);
    } else {
      RERANKD_ASSIGN_OR_RETURN(dense.weight, w_.source->ReadFloats(name + ".weight", shape));
    }
    RERANKD_ASSIGN_OR_RETURN(dense.bias, w_.source->ReadFloats(name + ".bias", {size.outputs}));
    dense.outputs = size.outputs;
    dense.inputs = size.inputs;
    return dense;
  }

  Status Pack(const Dense& dense, PostOp post, std::unique_ptr<const Linear>* linear) {
    RERANKD_ASSIGN_OR_RETURN(*linear, MakeLinear(dense.View(post), encoder_));
    return {};
  }

  Status LoadLinear(const std::string& name, Size size, PostOp post, std::unique_ptr<const Linear>* linear) {
    RERANKD_ASSIGN_OR_RETURN(const Dense dense, ReadDense(name, size, encoder_.precision));
    return Pack(dense, post, linear);
  }

  // One row a pair: its share of the time is nothing, its share of the error would not be.
  Status LoadHead(const std::string& name, Size size, PostOp post, std::unique_ptr<const Linear>* linear) {
    RERANKD_ASSIGN_OR_RETURN(const Dense dense, ReadDense(name, size, head_.precision));
    RERANKD_ASSIGN_OR_RETURN(*linear, MakeLinear(dense.View(post), head_));
    return {};
  }

  // Stays int8 in the mapped file where it is stored so: a row is widened when it is looked up.
  Result<EmbeddingTable> LoadWords(const std::string& name) {
    if (!w_.source->IsInt8(name)) {
      RERANKD_ASSIGN_OR_RETURN(const std::span<const float> table, LoadTable(name, config_.vocab_size));
      return EmbeddingTable{.values = table.data(), .codes = nullptr, .scales = nullptr};
    }
    RERANKD_ASSIGN_OR_RETURN(const Int8Matrix stored,
                             w_.source->ReadInt8(name, {config_.vocab_size, config_.hidden_size}));
    const std::span<float> scales = w_.arena.Floats(stored.scales.size());
    std::copy(stored.scales.begin(), stored.scales.end(), scales.begin());
    w_.view_bytes += static_cast<int64_t>(stored.values.size());
    return EmbeddingTable{.values = nullptr, .codes = stored.values.data(), .scales = scales.data()};
  }

  Status LoadEmbeddings() {
    const std::string name = "bert.embeddings.";
    EmbeddingWeights& e = w_.embeddings;
    RERANKD_ASSIGN_OR_RETURN(e.words, LoadWords(name + "word_embeddings.weight"));
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
    RERANKD_ASSIGN_OR_RETURN(Dense query, ReadDense(name + "query", size, encoder_.precision));
    RERANKD_ASSIGN_OR_RETURN(const Dense key, ReadDense(name + "key", size, encoder_.precision));
    RERANKD_ASSIGN_OR_RETURN(const Dense value, ReadDense(name + "value", size, encoder_.precision));
    Scale(1.0F / std::sqrt(static_cast<float>(config_.head_size())), &query);
    if (index + 1 < config_.num_layers)
      return Pack(Stack({&query, &key, &value}), PostOp::kNone, &layer->query_key_value);
    RERANKD_RETURN_IF_ERROR(Pack(query, PostOp::kNone, &layer->query));
    return Pack(Stack({&key, &value}), PostOp::kNone, &layer->key_value);
  }

  BertWeights& w_;
  const ModelConfig& config_;
  GemmTarget encoder_, head_;
};

}  // namespace

Result<std::shared_ptr<const BertWeights>> MakeBertWeights(const ModelConfig& config, TensorSource source,
                                                           const KernelSet& kernels, GemmProvider provider,
                                                           Precision precision) {
  auto weights = std::make_shared<BertWeights>();
  weights->config = config;
  weights->kernels = &kernels;
  weights->provider = provider;
  weights->precision = precision;
  weights->source.emplace(std::move(source));
  RERANKD_RETURN_IF_ERROR(Loader(weights.get()).Load());
  return std::shared_ptr<const BertWeights>(std::move(weights));
}

}  // namespace rerankd
