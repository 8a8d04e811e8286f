#include "backends/mlx/mlx_encoder.h"

#include <mlx/fast.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <cmath>
#include <utility>

namespace rerankd {

namespace mx = mlx::core;

// Evaluated at once, so that threads that share it only read it.
mx::array MlxEncoder::Engine::Keep(const mx::array& value) {
  mx::eval(value);
  bytes += static_cast<int64_t>(value.nbytes());
  return value;
}

MlxEncoder::Engine::Tensor MlxEncoder::Engine::Place(const std::vector<float>& values, const Shape& shape) {
  mx::Shape sizes;
  for (const int64_t size : shape) sizes.push_back(static_cast<mx::ShapeElem>(size));
  return Keep(mx::astype(mx::array(values.begin(), sizes, mx::float32), precision.type, device));
}

Result<MlxEncoder::Engine::Dense> MlxEncoder::Engine::MakeDense(const DenseValues& values, bool head) {
  Dense dense;
  dense.bias = Place(values.bias, {values.outputs});
  if (head || precision.bits == 0) {
    const Tensor weight = Place(values.weight, {values.outputs, values.inputs});
    dense.weight = mx::transpose(*weight, device);
    mx::eval(*dense.weight);
    return dense;
  }
  const int group = precision.group_size;
  if (values.inputs % group != 0)
    return FailedPrecondition("model.group_size " + std::to_string(group) + " does not divide the " +
                              std::to_string(values.inputs) + " inputs of " + values.name +
                              ": use another of 32, 64, 128, or precision fp16 or fp32");
  const mx::array weight(values.weight.begin(),
                         {static_cast<int>(values.outputs), static_cast<int>(values.inputs)}, mx::float32);
  const std::vector<mx::array> parts = mx::quantize(mx::astype(weight, precision.type, device), group,
                                                    precision.bits, "affine", std::nullopt, device);
  dense.weight = Keep(parts[0]);
  dense.scales = Keep(parts[1]);
  dense.offsets = Keep(parts[2]);
  return dense;
}

Result<std::shared_ptr<const MlxEncoder>> MlxEncoder::Load(const std::string& directory,
                                                           const ModelConfig& config, MlxPrecision precision,
                                                           mx::Device device) {
  RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(directory, config));
  std::shared_ptr<MlxEncoder> encoder(new MlxEncoder(config, Engine{precision, device}));
  RERANKD_ASSIGN_OR_RETURN(encoder->weights_, Weights::Load(source, config, &encoder->engine_));
  return std::shared_ptr<const MlxEncoder>(std::move(encoder));
}

// One pass, with its stream.
class MlxEncoder::Run {
 public:
  Run(const MlxEncoder& encoder, const PaddedBatch& in, mx::Stream stream)
      : e_(encoder), in_(in), s_(stream), hidden_(encoder.config_.hidden_size) {}

  mx::array Logits() const {
    const Weights& w = e_.weights_;
    const mx::array places = mx::slice(*w.places, {0, 0}, {in_.longest, hidden_}, s_);
    mx::array x =
        mx::add(mx::take(*w.words, Ints(in_.ids), 0, s_), mx::take(*w.types, Ints(in_.type_ids), 0, s_), s_);
    x = Norm(w.norm, mx::add(x, places, s_));
    std::optional<mx::array> mask;
    if (in_.padded) mask = mx::array(in_.mask.begin(), {in_.rows, 1, 1, in_.longest}, mx::bool_);
    for (const Weights::Layer& layer : w.layers) x = Layer(layer, x, mask, &layer == &w.layers.back());
    const mx::array pooled = mx::tanh(Linear(w.pooler, mx::reshape(x, {in_.rows, hidden_}, s_)), s_);
    return mx::contiguous(mx::astype(Linear(w.classifier, pooled), mx::float32, s_), false, s_);
  }

 private:
  using Dense = Engine::Dense;

  mx::array Ints(const std::vector<int64_t>& values) const {
    return mx::array(values.begin(), {in_.rows, in_.longest}, mx::int32);
  }

  mx::array Norm(const Weights::Norm& norm, const mx::array& x) const {
    return mx::fast::layer_norm(x, norm.weight, norm.bias, e_.config_.layer_norm_eps, s_);
  }

  mx::array Linear(const Dense& dense, const mx::array& x) const {
    if (!dense.scales.has_value()) return mx::addmm(*dense.bias, x, *dense.weight, 1, 1, s_);
    const MlxPrecision& precision = e_.engine_.precision;
    const mx::array product = mx::quantized_matmul(x, *dense.weight, *dense.scales, dense.offsets, true,
                                                   precision.group_size, precision.bits, "affine", s_);
    return mx::add(product, *dense.bias, s_);
  }

  // [rows, positions, hidden] -> [rows, heads, positions, head size]
  mx::array Heads(const mx::array& x) const {
    const mx::array split =
        mx::reshape(x, {in_.rows, x.shape(1), e_.config_.num_heads, e_.config_.head_size()}, s_);
    return mx::transpose(split, {0, 2, 1, 3}, s_);
  }

  // The last layer is computed for [CLS] alone: the head reads nothing else.
  mx::array Layer(const Weights::Layer& layer, const mx::array& x, const std::optional<mx::array>& mask,
                  bool last) const {
    const mx::array asking = last ? mx::slice(x, {0, 0, 0}, {in_.rows, 1, hidden_}, s_) : x;
    std::vector<mx::array> parts;  // queries, keys, values
    if (last) {
      parts = mx::split(Linear(layer.key_value, x), 2, -1, s_);
      parts.insert(parts.begin(), Linear(layer.query, asking));
    } else {
      parts = mx::split(Linear(layer.query_key_value, x), 3, -1, s_);
    }
    const float scale = 1 / std::sqrt(static_cast<float>(e_.config_.head_size()));
    const mx::array heads = mx::fast::scaled_dot_product_attention(
        Heads(parts[0]), Heads(parts[1]), Heads(parts[2]), scale, "", mask, std::nullopt, false, s_);
    const mx::array context = mx::reshape(mx::transpose(heads, {0, 2, 1, 3}, s_), asking.shape(), s_);
    const mx::array normed = Norm(layer.attention_norm, mx::add(Linear(layer.attended, context), asking, s_));
    return Norm(layer.output_norm,
                mx::add(Linear(layer.narrow, Activate(Linear(layer.wide, normed))), normed, s_));
  }

  mx::array Times(const mx::array& x, double factor) const {
    return mx::multiply(x, mx::array(factor, x.dtype()), s_);
  }

  mx::array Activate(const mx::array& x) const {
    const mx::array one(1.0F, x.dtype());
    switch (e_.config_.hidden_activation) {
      case HiddenActivation::kRelu:
        return mx::maximum(x, mx::array(0.0F, x.dtype()), s_);
      case HiddenActivation::kGeluTanh: {
        const mx::array cube = mx::multiply(mx::multiply(x, x, s_), x, s_);
        const mx::array inner = Times(mx::add(x, Times(cube, 0.044715), s_), std::sqrt(2 / M_PI));
        return mx::multiply(Times(x, 0.5), mx::add(one, mx::tanh(inner, s_), s_), s_);
      }
      case HiddenActivation::kGelu:
        break;
    }
    return mx::multiply(Times(x, 0.5), mx::add(one, mx::erf(Times(x, M_SQRT1_2), s_), s_), s_);
  }

  const MlxEncoder& e_;
  const PaddedBatch& in_;
  const mx::Stream s_;
  const int hidden_;
};

mx::array MlxEncoder::Forward(const PaddedBatch& in, mx::Stream stream) const {
  return Run(*this, in, stream).Logits();
}

}  // namespace rerankd
