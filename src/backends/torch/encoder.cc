// The encoder on ATen's operators. The last layer is computed for [CLS] alone (model/bert.h).
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cmath>
#include <vector>

#include "backends/encoder_weights.h"
#include "backends/padded_backend.h"
#include "backends/torch/net.h"

namespace rerankd {
namespace {

// Boxed call of an operator that has no C++ function.
c10::IValue CallOperator(const char* name, c10::Stack stack) {
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(&stack);
  return std::move(stack.front());
}

// Makes ATen tensors of the weights (backends/encoder_weights.h) and computes their products.
struct TorchEngine {
  using Tensor = at::Tensor;
  struct Dense {
    at::Tensor weight, bias;  // [outputs, inputs], [outputs]
    c10::IValue packed;       // of int8 products, instead of the weight

    at::Tensor operator()(const at::Tensor& x) const {
      if (packed.isNone()) return at::linear(x, weight, bias);
      // The operator has one scale for all activations. Each row is brought to [-1, 1] beforehand, so that
      // the scale is one of each row: an outlier of one token costs the others nothing.
      const at::Tensor largest = x.abs().amax(-1, true).clamp_min_(1e-12);
      const at::Tensor product =
          CallOperator("quantized::linear_dynamic", {x / largest, packed, false}).toTensor();
      return product.mul_(largest).add_(bias);
    }
  };

  at::Device device;
  at::ScalarType type;
  bool int8;
  int64_t bytes = 0;

  at::Tensor Keep(const at::Tensor& values) {
    at::Tensor placed = values.to(device, type);
    bytes += static_cast<int64_t>(placed.nbytes());
    return placed;
  }

  static at::Tensor View(const std::vector<float>& values, const Shape& shape) {
    return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);
  }

  at::Tensor Place(const std::vector<float>& values, const Shape& shape) {
    return Keep(View(values, shape).clone());
  }

  Result<Dense> MakeDense(const DenseValues& values, bool head) {
    Dense dense;
    dense.bias = Place(values.bias, {values.outputs});
    if (int8 && !head)
      dense.packed = Pack(View(values.weight, {values.outputs, values.inputs}));
    else
      dense.weight = Place(values.weight, {values.outputs, values.inputs});
    return dense;
  }

  // Symmetric codes, one scale per output. The 8-bit products of AVX2 add two at a time in 16 bits: with
  // activations of 8 bits they overflow unless the codes of the weights have 7.
  c10::IValue Pack(const at::Tensor& weight) {
    const int largest = HasVnni() ? 127 : 63;
    const at::Tensor scales = (weight.abs().amax(1) / largest).clamp_min(1e-12);
    const at::Tensor codes = at::round(weight / scales.unsqueeze(1)).to(at::kChar);
    const at::Tensor quantised = at::_make_per_channel_quantized_tensor(
        codes, scales.to(at::kDouble), at::zeros({weight.size(0)}, at::kLong), 0);
    bytes += codes.numel() + static_cast<int64_t>(scales.nbytes());
    return CallOperator("quantized::linear_prepack", {quantised, c10::IValue()});
  }
};

using Weights = EncoderWeights<TorchEngine>;

class Encoder final : public Net {
 public:
  Encoder(ModelConfig config, const TorchEngine& engine) : config_(std::move(config)), engine_(engine) {}

  Status Load(const TensorSource& source) {
    RERANKD_ASSIGN_OR_RETURN(weights_, Weights::Load(source, config_, &engine_));
    return {};
  }

  at::Tensor Forward(const NetInputs& in) const override {
    at::Tensor x = at::embedding(weights_.words, in.ids) + at::embedding(weights_.types, in.types) +
                   weights_.places.slice(0, 0, in.ids.size(1));
    x = LayerNorm(weights_.norm, x);
    std::optional<at::Tensor> mask;
    if (in.padded) mask = in.mask.to(at::kBool).view({in.mask.size(0), 1, 1, in.mask.size(1)});
    for (const Weights::Layer& layer : weights_.layers)
      x = Run(layer, x, mask, &layer == &weights_.layers.back());
    return weights_.classifier(at::tanh(weights_.pooler(x.select(1, 0)))).to(at::kFloat);
  }

  int64_t bytes() const override { return engine_.bytes; }

  std::string details() const override { return "PyTorch " + TorchVersion() + ", from the weights"; }

 private:
  at::Tensor LayerNorm(const Weights::Norm& norm, const at::Tensor& x) const {
    return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config_.layer_norm_eps);
  }

  // [rows, positions, hidden] -> [rows, heads, positions, head size]
  at::Tensor Heads(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), config_.num_heads, config_.head_size()}).transpose(1, 2);
  }

  at::Tensor Run(const Weights::Layer& layer, const at::Tensor& x, const std::optional<at::Tensor>& mask,
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
    const at::Tensor normed = LayerNorm(layer.attention_norm, layer.attended(context) + asking);
    return LayerNorm(layer.output_norm, layer.narrow(Activate(layer.wide(normed))) + normed);
  }

  at::Tensor Activate(const at::Tensor& x) const {
    if (config_.hidden_activation == HiddenActivation::kRelu) return at::relu(x);
    return at::gelu(x, config_.hidden_activation == HiddenActivation::kGeluTanh ? "tanh" : "none");
  }

  const ModelConfig config_;
  TorchEngine engine_;
  Weights weights_;
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
  auto encoder = std::make_shared<Encoder>(config, TorchEngine{device, type, int8});
  RERANKD_RETURN_IF_ERROR(encoder->Load(source));
  return NetPointer(std::move(encoder));
}

}  // namespace rerankd
