#include "model/bert.h"

#include <algorithm>
#include <string>
#include <utility>

namespace rerankd {
namespace {

// Rows that pass through the second half of a layer together, as many as a row block of the own kernels:
// every weight is streamed once a chunk.
constexpr int kChunk = 126;

int Length(const EncodedPair& pair) { return static_cast<int>(pair.ids.size()); }

int Tokens(std::span<const EncodedPair> pairs) {
  int tokens = 0;
  for (const EncodedPair& pair : pairs) tokens += Length(pair);
  return tokens;
}

}  // namespace

Bert::Bert(std::shared_ptr<const BertWeights> weights, int max_tokens)
    : weights_(std::move(weights)), max_tokens_(std::max(max_tokens, weights_->config.max_positions)) {
  const ModelConfig& c = weights_->config;
  x_ = MakeRows(max_tokens_, c.hidden_size, true);
  projected_ = MakeRows(max_tokens_, 3 * c.hidden_size, false).values;
  context_ = MakeRows(max_tokens_, c.hidden_size, true);
  cls_ = MakeRows(max_tokens_, c.hidden_size, false);
  wide_ = MakeRows(kChunk, c.intermediate_size, true);
  narrow_ = MakeRows(kChunk, c.hidden_size, false).values;
  const KernelSet& kernels = *weights_->kernels;
  const bool rounded = weights_->precision != Precision::kFp32 && kernels.bf16_attention != nullptr;
  attention_ = rounded ? kernels.bf16_attention : kernels.attention;
  const auto scratch = rounded ? kernels.bf16_attention_scratch : kernels.attention_scratch;
  scratch_ = arena_.Floats(static_cast<size_t>(scratch(c.max_positions, c.head_size()))).data();
}

// `product_input`: products of the encoder read these rows, as codes unless they are fp32.
Rows Bert::MakeRows(int count, int width, bool product_input) {
  const size_t rows = static_cast<size_t>(count);
  Rows out{.values = arena_.Floats(rows * static_cast<size_t>(width)).data(), .stride = width};
  const int code_bytes = CodeBytes(*weights_->kernels, weights_->precision);
  if (!product_input || code_bytes == 0) return out;
  const int stride = (width + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment * code_bytes;
  const std::span<int8_t> codes = arena_.Bytes(rows * static_cast<size_t>(stride));
  out.coded = {reinterpret_cast<unsigned char*>(codes.data()), stride, arena_.Floats(rows).data(),
               arena_.Ints(rows).data(), weights_->precision};
  return out;
}

Status Bert::Forward(std::span<const EncodedPair> pairs, const CancelFlag& cancel, std::span<float> logits) {
  if (clock_ != nullptr) clock_->Start();
  Embed(pairs);
  Mark(Stage::kEmbed);
  const size_t last = weights_->layers.size() - 1;
  for (size_t i = 0; i < last; ++i) {
    if (cancel.cancelled()) return Cancelled("cancelled between layers");
    FullLayer(weights_->layers[i], pairs);
  }
  if (cancel.cancelled()) return Cancelled("cancelled between layers");
  LastLayer(weights_->layers[last], pairs);
  Head(static_cast<int>(pairs.size()), logits);
  return {};
}

void Bert::Embed(std::span<const EncodedPair> pairs) {
  const EmbeddingWeights& e = weights_->embeddings;
  int row = 0;
  for (const EncodedPair& pair : pairs) {
    const Rows out = x_.From(row);
    weights_->kernels->embed({pair.ids.data(), pair.type_ids.data(), e.words, e.types.data(),
                              e.positions.data(), e.norm.gamma.data(), e.norm.beta.data(), out.values,
                              Length(pair), config().hidden_size, config().layer_norm_eps, out.coded});
    row += Length(pair);
  }
}

void Bert::FullLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs) {
  const int hidden = config().hidden_size, tokens = Tokens(pairs);
  layer.query_key_value->Run(x_, tokens, projected_, 3L * hidden);
  Mark(Stage::kQueryKeyValue);
  Attend(pairs, {projected_, projected_ + hidden, projected_ + 2 * hidden, 3 * hidden, 3 * hidden, false});
  Mark(Stage::kAttention);
  FinishLayer(layer, tokens);
}

void Bert::LastLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs) {
  const int hidden = config().hidden_size, count = static_cast<int>(pairs.size());
  layer.key_value->Run(x_, Tokens(pairs), projected_, 2L * hidden);
  KeepFirstRows(pairs);
  layer.query->Run(x_, count, cls_.values, hidden);
  Mark(Stage::kQueryKeyValue);
  Attend(pairs, {cls_.values, projected_, projected_ + hidden, hidden, 2 * hidden, true});
  Mark(Stage::kAttention);
  FinishLayer(layer, count);
}

// From here on x holds one row a pair: that of [CLS], the pair's first token.
void Bert::KeepFirstRows(std::span<const EncodedPair> pairs) {
  const auto move = [](auto* base, long stride, int from, int to) {
    if (from != to) std::copy_n(base + from * stride, stride, base + to * stride);
  };
  const CodedRows& coded = x_.coded;
  int from = 0, to = 0;
  for (const EncodedPair& pair : pairs) {
    move(x_.values, x_.stride, from, to);
    if (coded.codes != nullptr) {
      move(coded.codes, coded.stride, from, to);
      move(coded.scales, 1, from, to);
      move(coded.zeros, 1, from, to);
    }
    from += Length(pair);
    ++to;
  }
}

void Bert::Attend(std::span<const EncodedPair> pairs, const Projections& in) {
  const ModelConfig& c = config();
  long token = 0, query = 0;
  for (const EncodedPair& pair : pairs) {
    const int keys = Length(pair);
    const int queries = in.cls_only ? 1 : keys;
    attention_({in.q + query * in.q_stride, in.q_stride, in.k + token * in.kv_stride,
                in.v + token * in.kv_stride, in.kv_stride, context_.values + query * c.hidden_size,
                c.hidden_size, scratch_, queries, keys, c.num_heads, c.head_size()});
    token += keys;
    query += queries;
  }
}

// x = norm(x + attention_output(context)); x = norm(x + output(activation(intermediate(x)))).
void Bert::FinishLayer(const LayerWeights& layer, int rows) {
  const int hidden = config().hidden_size, wide = config().intermediate_size;
  for (int row = 0; row < rows; row += kChunk) {
    const int count = std::min(kChunk, rows - row);
    const Rows x = x_.From(row), context = context_.From(row);
    EncodeForProduct(context, count, hidden);
    layer.attention_output->Run(context, count, narrow_, hidden);
    Mark(Stage::kAttentionOutput);
    AddNorm(x, count, layer.attention_norm);
    layer.intermediate->Run(x, count, wide_.values, wide);
    Mark(Stage::kIntermediate);
    EncodeForProduct(wide_, count, wide);
    layer.output->Run(wide_, count, narrow_, hidden);
    Mark(Stage::kOutput);
    AddNorm(x, count, layer.output_norm);
  }
}

// x = norm(x + narrow), with its codes where products read those.
void Bert::AddNorm(const Rows& x, int rows, const LayerNormWeights& norm) {
  weights_->kernels->add_layer_norm({x.values, narrow_, norm.gamma.data(), norm.beta.data(), x.values, rows,
                                     config().hidden_size, config().layer_norm_eps, x.coded});
  Mark(Stage::kNorm);
}

void Bert::EncodeForProduct(const Rows& x, int rows, int width) {
  if (x.coded.codes == nullptr) return;
  weights_->kernels->encode({x.values, rows, width, x.coded});
  Mark(Stage::kEncode);
}

void Bert::Head(int pairs, std::span<float> logits) {
  weights_->pooler->Run(x_, pairs, cls_.values, config().hidden_size);
  weights_->classifier->Run(cls_, pairs, logits.data(), config().num_labels);
  Mark(Stage::kHead);
}

}  // namespace rerankd
