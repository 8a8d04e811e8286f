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

}  // namespace

Bert::Bert(std::shared_ptr<const BertWeights> weights, int max_tokens)
    : weights_(std::move(weights)), max_tokens_(std::max(max_tokens, weights_->config.max_positions)) {
  const ModelConfig& c = weights_->config;
  const auto rows = [&](int count, int width) {
    return arena_.Floats(static_cast<size_t>(count) * static_cast<size_t>(width)).data();
  };
  x_ = rows(max_tokens_, c.hidden_size);
  projected_ = rows(max_tokens_, 3 * c.hidden_size);
  context_ = rows(max_tokens_, c.hidden_size);
  cls_ = rows(max_tokens_, c.hidden_size);
  wide_ = rows(kChunk, c.intermediate_size);
  narrow_ = rows(kChunk, c.hidden_size);
  scratch_ = rows(1, static_cast<int>(weights_->kernels->attention_scratch(c.max_positions, c.head_size())));
}

Status Bert::Check(const EncodedPair& pair) const {
  const ModelConfig& c = config();
  if (pair.ids.empty() || pair.ids.size() != pair.type_ids.size()) {
    return InvalidArgument("a pair of " + std::to_string(pair.ids.size()) + " token ids and " +
                           std::to_string(pair.type_ids.size()) +
                           " type ids; at least one token, and as many types, are needed");
  }
  if (Length(pair) > c.max_positions) {
    return InvalidArgument("a pair of " + std::to_string(Length(pair)) + " tokens; the model reads at most " +
                           std::to_string(c.max_positions) + ": truncate it");
  }
  for (const int32_t id : pair.ids) {
    if (id < 0 || id >= c.vocab_size)
      return InvalidArgument("token id " + std::to_string(id) + "; the model has " +
                             std::to_string(c.vocab_size) + " embeddings: tokenizer and model do not match");
  }
  for (const uint8_t type : pair.type_ids) {
    if (type >= c.type_vocab_size)
      return InvalidArgument("token type " + std::to_string(type) + "; the model has " +
                             std::to_string(c.type_vocab_size));
  }
  return {};
}

Status Bert::Forward(std::span<const EncodedPair> pairs, const CancelFlag& cancel, std::span<float> logits) {
  Embed(pairs);
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
  const int hidden = config().hidden_size;
  float* out = x_;
  for (const EncodedPair& pair : pairs) {
    weights_->kernels->embed({pair.ids.data(), pair.type_ids.data(), e.words.data(), e.types.data(),
                              e.positions.data(), e.norm.gamma.data(), e.norm.beta.data(), out, Length(pair),
                              hidden, config().layer_norm_eps});
    out += static_cast<long>(Length(pair)) * hidden;
  }
}

void Bert::FullLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs) {
  const int hidden = config().hidden_size;
  int tokens = 0;
  for (const EncodedPair& pair : pairs) tokens += Length(pair);
  layer.query_key_value->Run(x_, hidden, tokens, projected_, 3L * hidden);
  Attend(pairs, {projected_, projected_ + hidden, projected_ + 2 * hidden, 3 * hidden, 3 * hidden, false});
  FinishLayer(layer, x_, tokens);
}

void Bert::LastLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs) {
  const int hidden = config().hidden_size;
  int tokens = 0;
  for (const EncodedPair& pair : pairs) tokens += Length(pair);
  layer.key_value->Run(x_, hidden, tokens, projected_, 2L * hidden);
  // From here on x holds one row a pair: that of [CLS], the pair's first token.
  int row = 0;
  float* to = x_;
  for (const EncodedPair& pair : pairs) {
    const float* from = x_ + static_cast<long>(row) * hidden;
    if (from != to) std::copy_n(from, hidden, to);
    row += Length(pair);
    to += hidden;
  }
  const int count = static_cast<int>(pairs.size());
  layer.query->Run(x_, hidden, count, cls_, hidden);
  Attend(pairs, {cls_, projected_, projected_ + hidden, hidden, 2 * hidden, true});
  FinishLayer(layer, x_, count);
}

void Bert::Attend(std::span<const EncodedPair> pairs, const Projections& in) {
  const ModelConfig& c = config();
  long token = 0, query = 0;
  for (const EncodedPair& pair : pairs) {
    const int keys = Length(pair);
    const int queries = in.cls_only ? 1 : keys;
    weights_->kernels->attention({in.q + query * in.q_stride, in.q_stride, in.k + token * in.kv_stride,
                                  in.v + token * in.kv_stride, in.kv_stride, context_ + query * c.hidden_size,
                                  c.hidden_size, scratch_, queries, keys, c.num_heads, c.head_size()});
    token += keys;
    query += queries;
  }
}

// x = norm(x + attention_output(context)); x = norm(x + output(activation(intermediate(x)))).
void Bert::FinishLayer(const LayerWeights& layer, float* x, int rows) {
  const int hidden = config().hidden_size, wide = config().intermediate_size;
  const float epsilon = config().layer_norm_eps;
  const auto add_norm = [&](float* to, int count, const LayerNormWeights& norm) {
    weights_->kernels->add_layer_norm(
        {to, narrow_, norm.gamma.data(), norm.beta.data(), to, count, hidden, epsilon});
  };
  for (int row = 0; row < rows; row += kChunk) {
    const int count = std::min(kChunk, rows - row);
    float* chunk = x + static_cast<long>(row) * hidden;
    layer.attention_output->Run(context_ + static_cast<long>(row) * hidden, hidden, count, narrow_, hidden);
    add_norm(chunk, count, layer.attention_norm);
    layer.intermediate->Run(chunk, hidden, count, wide_, wide);
    layer.output->Run(wide_, wide, count, narrow_, hidden);
    add_norm(chunk, count, layer.output_norm);
  }
}

void Bert::Head(int pairs, std::span<float> logits) {
  const int hidden = config().hidden_size;
  weights_->pooler->Run(x_, hidden, pairs, cls_, hidden);
  weights_->classifier->Run(cls_, hidden, pairs, logits.data(), config().num_labels);
}

}  // namespace rerankd
