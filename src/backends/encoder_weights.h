// The weights of a BERT encoder as engines with operators of their own want them: projections of the same
// input stacked into one; those of the last layer apart, because it is computed for [CLS] alone
// (model/bert.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "weights/model_config.h"
#include "weights/tensor_source.h"

namespace rerankd {

// Linear layers of one input, stacked.
struct DenseValues {
  std::string name;  // of the first
  int64_t outputs = 0, inputs = 0;
  std::vector<float> weight, bias;  // [outputs, inputs] row-major, [outputs]
};

// Each of `names` is a layer of `outputs` outputs.
Result<DenseValues> ReadDense(const TensorSource& source, const std::vector<std::string>& names,
                              int64_t outputs, int64_t inputs);

// `Engine` has the types Tensor and Dense (both default constructible) and
//   Tensor Place(const std::vector<float>& values, const Shape& shape);
//   Result<Dense> MakeDense(const DenseValues& values, bool head);   // head: a row a pair, never quantised
template <typename Engine>
struct EncoderWeights {
  using Tensor = typename Engine::Tensor;
  using Dense = typename Engine::Dense;
  struct Norm {
    Tensor weight, bias;
  };
  struct Layer {
    Dense query, key_value;  // of the last layer only
    Dense query_key_value;   // of all others
    Dense attended, wide, narrow;
    Norm attention_norm, output_norm;
  };

  Tensor words, places, types;  // embeddings: [vocabulary | positions | types, hidden]
  Norm norm;
  std::vector<Layer> layers;
  Dense pooler, classifier;

  static Result<EncoderWeights> Load(const TensorSource& source, const ModelConfig& config, Engine* engine) {
    EncoderWeights weights;
    const Reader reader{source, config, engine};
    RERANKD_RETURN_IF_ERROR(reader.Embeddings(&weights));
    weights.layers.resize(static_cast<size_t>(config.num_layers));
    for (size_t i = 0; i < weights.layers.size(); ++i)
      RERANKD_RETURN_IF_ERROR(reader.OneLayer("bert.encoder.layer." + std::to_string(i) + ".",
                                              i + 1 == weights.layers.size(), &weights.layers[i]));
    const int hidden = config.hidden_size;
    RERANKD_RETURN_IF_ERROR(reader.Linear({"bert.pooler.dense"}, {hidden, hidden, true}, &weights.pooler));
    RERANKD_RETURN_IF_ERROR(
        reader.Linear({"classifier"}, {config.num_labels, hidden, true}, &weights.classifier));
    return weights;
  }

 private:
  struct Size {
    int outputs = 0, inputs = 0;
    bool head = false;
  };

  struct Reader {
    const TensorSource& source;
    const ModelConfig& config;
    Engine* engine;

    Status Place(const std::string& name, const Shape& shape, Tensor* out) const {
      RERANKD_ASSIGN_OR_RETURN(const std::vector<float> values, source.ReadFloats(name, shape));
      *out = engine->Place(values, shape);
      return {};
    }

    Status LayerNorm(const std::string& name, Norm* out) const {
      RERANKD_RETURN_IF_ERROR(Place(name + ".weight", {config.hidden_size}, &out->weight));
      return Place(name + ".bias", {config.hidden_size}, &out->bias);
    }

    Status Linear(const std::vector<std::string>& names, Size size, Dense* out) const {
      RERANKD_ASSIGN_OR_RETURN(const DenseValues values, ReadDense(source, names, size.outputs, size.inputs));
      RERANKD_ASSIGN_OR_RETURN(*out, engine->MakeDense(values, size.head));
      return {};
    }

    Status Embeddings(EncoderWeights* out) const {
      const std::string name = "bert.embeddings.";
      const int hidden = config.hidden_size;
      RERANKD_RETURN_IF_ERROR(
          Place(name + "word_embeddings.weight", {config.vocab_size, hidden}, &out->words));
      RERANKD_RETURN_IF_ERROR(
          Place(name + "position_embeddings.weight", {config.max_positions, hidden}, &out->places));
      RERANKD_RETURN_IF_ERROR(
          Place(name + "token_type_embeddings.weight", {config.type_vocab_size, hidden}, &out->types));
      return LayerNorm(name + "LayerNorm", &out->norm);
    }

    Status OneLayer(const std::string& name, bool last, Layer* out) const {
      const std::string q = name + "attention.self.query", k = name + "attention.self.key",
                        v = name + "attention.self.value";
      const int hidden = config.hidden_size, wide = config.intermediate_size;
      if (last) {
        RERANKD_RETURN_IF_ERROR(Linear({q}, {hidden, hidden}, &out->query));
        RERANKD_RETURN_IF_ERROR(Linear({k, v}, {hidden, hidden}, &out->key_value));
      } else {
        RERANKD_RETURN_IF_ERROR(Linear({q, k, v}, {hidden, hidden}, &out->query_key_value));
      }
      RERANKD_RETURN_IF_ERROR(Linear({name + "attention.output.dense"}, {hidden, hidden}, &out->attended));
      RERANKD_RETURN_IF_ERROR(Linear({name + "intermediate.dense"}, {wide, hidden}, &out->wide));
      RERANKD_RETURN_IF_ERROR(Linear({name + "output.dense"}, {hidden, wide}, &out->narrow));
      RERANKD_RETURN_IF_ERROR(LayerNorm(name + "attention.output.LayerNorm", &out->attention_norm));
      return LayerNorm(name + "output.LayerNorm", &out->output_norm);
    }
  };
};

}  // namespace rerankd
