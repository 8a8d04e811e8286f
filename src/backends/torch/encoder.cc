// The encoder on ATen's operators. The last layer is computed for [CLS] alone (model/bert.h).
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cmath>
#include <vector>

#include "backends/torch/net.h"
#include "weights/tensor_source.h"

namespace rerankd {
namespace {

// Boxed call of an operator that has no C++ function.
c10::IValue CallOperator(const char* name, c10::Stack stack) {
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(&stack);
  return std::move(stack.front());
}

struct Dense {
  at::Tensor weight, bias;  // [outputs, inputs], [outputs]
  c10::IValue packed;       // of int8 products, instead of both

  at::Tensor operator()(const at::Tensor& x) const {
    if (packed.isNone()) return at::linear(x, weight, bias);
    // 7-bit activations: the 8-bit products of AVX2 would saturate.
    return CallOperator("quantized::linear_dynamic", {x, packed, true}).toTensor();
  }
};

struct Norm {
  at::Tensor weight, bias;
  double epsilon = 0;

  at::Tensor operator()(const at::Tensor& x) const {
    return at::layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
  }
};

struct Layer {
  Dense query, key_value,
      query_key_value;  // the last layer asks for [CLS] only: the first two; others the third
  Dense attended, wide, narrow;
  Norm attention_norm, output_norm;
};

class Encoder final : public Net {
 public:
  Encoder(ModelConfig config, at::Device device, at::ScalarType type, bool int8)
      : config_(std::move(config)), device_(device), type_(type), int8_(int8) {}

  Status Load(const TensorSource& source) {
    const std::string name = "bert.embeddings.";
    RERANKD_ASSIGN_OR_RETURN(words_,
                             Read(source, name + "word_embeddings.weight", {config_.vocab_size, hidden()}));
    RERANKD_ASSIGN_OR_RETURN(
        places_, Read(source, name + "position_embeddings.weight", {config_.max_positions, hidden()}));
    RERANKD_ASSIGN_OR_RETURN(
        types_, Read(source, name + "token_type_embeddings.weight", {config_.type_vocab_size, hidden()}));
    RERANKD_ASSIGN_OR_RETURN(norm_, ReadNorm(source, name + "LayerNorm"));
    layers_.resize(static_cast<size_t>(config_.num_layers));
    for (size_t i = 0; i < layers_.size(); ++i)
      RERANKD_RETURN_IF_ERROR(LoadLayer(source, "bert.encoder.layer." + std::to_string(i) + ".", &layers_[i],
                                        i + 1 == layers_.size()));
    RERANKD_ASSIGN_OR_RETURN(pooler_, ReadDense(source, {"bert.pooler.dense"}, hidden(), hidden(), false));
    RERANKD_ASSIGN_OR_RETURN(classifier_,
                             ReadDense(source, {"classifier"}, config_.num_labels, hidden(), false));
    return {};
  }

  at::Tensor Forward(const NetInputs& in) const override {
    at::Tensor x =
        at::embedding(words_, in.ids) + at::embedding(types_, in.types) + places_.slice(0, 0, in.ids.size(1));
    x = norm_(x);
    std::optional<at::Tensor> mask;
    if (in.padded) mask = in.mask.to(at::kBool).view({in.mask.size(0), 1, 1, in.mask.size(1)});
    for (const Layer& layer : layers_) x = Run(layer, x, mask, &layer == &layers_.back());
    return classifier_(at::tanh(pooler_(x.select(1, 0)))).to(at::kFloat);
  }

  int64_t bytes() const override { return bytes_; }

  std::string details() const override { return "PyTorch " + TorchVersion() + ", from the weights"; }

 private:
  int64_t hidden() const { return config_.hidden_size; }

  Result<at::Tensor> ReadFloats(const TensorSource& source, const std::string& name,
                                const Shape& shape) const {
    RERANKD_ASSIGN_OR_RETURN(std::vector<float> values, source.ReadFloats(name, shape));
    return at::from_blob(values.data(), shape, at::kFloat).clone();
  }

  at::Tensor Place(const at::Tensor& values) {
    at::Tensor placed = values.to(device_, type_);
    bytes_ += static_cast<int64_t>(placed.nbytes());
    return placed;
  }

  Result<at::Tensor> Read(const TensorSource& source, const std::string& name, const Shape& shape) {
    RERANKD_ASSIGN_OR_RETURN(const at::Tensor values, ReadFloats(source, name, shape));
    return Place(values);
  }

  Result<Norm> ReadNorm(const TensorSource& source, const std::string& name) {
    Norm norm;
    RERANKD_ASSIGN_OR_RETURN(norm.weight, Read(source, name + ".weight", {hidden()}));
    RERANKD_ASSIGN_OR_RETURN(norm.bias, Read(source, name + ".bias", {hidden()}));
    norm.epsilon = config_.layer_norm_eps;
    return norm;
  }

  // Layers of the same input, stacked into one.
  Result<Dense> ReadDense(const TensorSource& source, const std::vector<std::string>& names, int64_t outputs,
                          int64_t inputs, bool int8) {
    std::vector<at::Tensor> weights, biases;
    for (const std::string& name : names) {
      RERANKD_ASSIGN_OR_RETURN(weights.emplace_back(),
                               ReadFloats(source, name + ".weight", {outputs, inputs}));
      RERANKD_ASSIGN_OR_RETURN(biases.emplace_back(), ReadFloats(source, name + ".bias", {outputs}));
    }
    Dense dense;
    const at::Tensor weight = at::cat(weights), bias = at::cat(biases);
    if (int8) {
      dense.packed = Pack(weight, bias);
    } else {
      dense.weight = Place(weight);
      dense.bias = Place(bias);
    }
    return dense;
  }

  // Symmetric codes, one scale per output.
  c10::IValue Pack(const at::Tensor& weight, const at::Tensor& bias) {
    const at::Tensor scales = (weight.abs().amax(1) / 127).clamp_min(1e-12);
    const at::Tensor codes = at::round(weight / scales.unsqueeze(1)).to(at::kChar);
    const at::Tensor quantised = at::_make_per_channel_quantized_tensor(
        codes, scales.to(at::kDouble), at::zeros({weight.size(0)}, at::kLong), 0);
    bytes_ += codes.numel() + static_cast<int64_t>(bias.nbytes() + scales.nbytes());
    return CallOperator("quantized::linear_prepack", {quantised, bias});
  }

  Status LoadLayer(const TensorSource& source, const std::string& name, Layer* layer, bool last) {
    const std::string self = name + "attention.self.";
    const int64_t wide = config_.intermediate_size;
    if (last) {
      RERANKD_ASSIGN_OR_RETURN(layer->query, ReadDense(source, {self + "query"}, hidden(), hidden(), int8_));
      RERANKD_ASSIGN_OR_RETURN(layer->key_value,
                               ReadDense(source, {self + "key", self + "value"}, hidden(), hidden(), int8_));
    } else {
      RERANKD_ASSIGN_OR_RETURN(
          layer->query_key_value,
          ReadDense(source, {self + "query", self + "key", self + "value"}, hidden(), hidden(), int8_));
    }
    RERANKD_ASSIGN_OR_RETURN(layer->attended,
                             ReadDense(source, {name + "attention.output.dense"}, hidden(), hidden(), int8_));
    RERANKD_ASSIGN_OR_RETURN(layer->wide,
                             ReadDense(source, {name + "intermediate.dense"}, wide, hidden(), int8_));
    RERANKD_ASSIGN_OR_RETURN(layer->narrow,
                             ReadDense(source, {name + "output.dense"}, hidden(), wide, int8_));
    RERANKD_ASSIGN_OR_RETURN(layer->attention_norm, ReadNorm(source, name + "attention.output.LayerNorm"));
    RERANKD_ASSIGN_OR_RETURN(layer->output_norm, ReadNorm(source, name + "output.LayerNorm"));
    return {};
  }

  // [rows, positions, hidden] -> [rows, heads, positions, head size]
  at::Tensor Heads(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), config_.num_heads, config_.head_size()}).transpose(1, 2);
  }

  at::Tensor Run(const Layer& layer, const at::Tensor& x, const std::optional<at::Tensor>& mask,
                 bool last) const {
    const at::Tensor asking = last ? x.slice(1, 0, 1) : x;
    std::vector<at::Tensor> parts;  // queries, keys, values
    if (last) {
      parts = layer.key_value(x).chunk(2, -1);
      parts.insert(parts.begin(), layer.query(asking));
    } else {
      parts = layer.query_key_value(x).chunk(3, -1);
    }
    const at::Tensor heads = at::scaled_dot_product_attention(
        Heads(parts[0].contiguous()), Heads(parts[1].contiguous()), Heads(parts[2].contiguous()), mask);
    const at::Tensor context = heads.transpose(1, 2).reshape(asking.sizes());
    const at::Tensor normed = layer.attention_norm(layer.attended(context) + asking);
    return layer.output_norm(layer.narrow(Activate(layer.wide(normed))) + normed);
  }

  at::Tensor Activate(const at::Tensor& x) const {
    if (config_.hidden_activation == HiddenActivation::kRelu) return at::relu(x);
    return at::gelu(x, config_.hidden_activation == HiddenActivation::kGeluTanh ? "tanh" : "none");
  }

  const ModelConfig config_;
  const at::Device device_;
  const at::ScalarType type_;
  const bool int8_;
  at::Tensor words_, places_, types_;
  Norm norm_;
  std::vector<Layer> layers_;
  Dense pooler_, classifier_;
  int64_t bytes_ = 0;
};

}  // namespace

Result<NetPointer> MakeEncoder(const PluginRequest& request, const ModelConfig& config, at::Device device,
                               const std::string& precision) {
  at::ScalarType type = at::kFloat;
  if (precision == "bf16") type = at::kBFloat16;
  if (precision == "fp16") type = at::kHalf;
  const bool int8 = precision == "int8";
  if (precision == "int4" || (int8 && !device.is_cpu()))
    return FailedPrecondition("precision '" + precision + "' of backend " + request.backend + " on " +
                              device.str() + ": use fp32, bf16 or fp16" +
                              (device.is_cpu() ? " or int8" : ""));
  RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(request.directory, config));
  auto encoder = std::make_shared<Encoder>(config, device, type, int8);
  RERANKD_RETURN_IF_ERROR(encoder->Load(source));
  return NetPointer(std::move(encoder));
}

}  // namespace rerankd
