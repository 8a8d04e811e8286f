// The BERT encoder with a classification head (Devlin et al. 2018) on a ragged micro-batch. Nothing is
// padded: a row is a token, attention runs on each pair's own length.
//
// The last layer is computed for [CLS] alone, the only token that the head reads: its keys and values need
// every token, the rest one row a pair.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"
#include "core/cancel.h"
#include "core/encoding.h"
#include "kernels/buffer.h"
#include "model/bert_weights.h"
#include "model/stage_clock.h"

namespace rerankd {

// One thread at a time. All memory is reserved on construction; Forward allocates nothing.
class Bert {
 public:
  // Serves micro-batches of up to `max_tokens` tokens; raised to the model's longest pair.
  Bert(std::shared_ptr<const BertWeights> weights, int max_tokens);

  const ModelConfig& config() const { return weights_->config; }
  // From now on Forward marks its stages there; null: nowhere. The clock outlives its use.
  void set_clock(StageClock* clock) { clock_ = clock; }
  int max_tokens() const { return max_tokens_; }
  int64_t workspace_bytes() const { return arena_.bytes(); }

  // logits[i * num_labels + l] of pair i. The pairs passed CheckPair and have at most max_tokens() together.
  // kCancelled if `cancel` was seen between two layers.
  Status Forward(std::span<const EncodedPair> pairs, const CancelFlag& cancel, std::span<float> logits);

 private:
  // Queries, keys and values of a layer; either every token asks or only the first of each pair.
  struct Projections {
    const float* q;
    const float* k;
    const float* v;
    int q_stride, kv_stride;
    bool cls_only;
  };

  void Embed(std::span<const EncodedPair> pairs);
  void FullLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs);
  void LastLayer(const LayerWeights& layer, std::span<const EncodedPair> pairs);
  void KeepFirstRows(std::span<const EncodedPair> pairs);
  void Attend(std::span<const EncodedPair> pairs, const Projections& in);
  void FinishLayer(const LayerWeights& layer, int rows);
  void AddNorm(const Rows& x, int rows, const LayerNormWeights& norm);
  void EncodeForProduct(const Rows& x, int rows, int width);
  void Head(int pairs, std::span<float> logits);
  void Mark(Stage stage) {
    if (clock_ != nullptr) clock_->Mark(stage);
  }
  Rows MakeRows(int count, int width, bool product_input);

  std::shared_ptr<const BertWeights> weights_;
  int max_tokens_;
  StageClock* clock_ = nullptr;
  Arena arena_;
  Rows x_;            // [max_tokens, hidden]: the residual stream; the rows of [CLS] after the last layer
  float* projected_;  // [max_tokens, 3 x hidden]: queries, keys, values
  Rows context_;      // [max_tokens, hidden]: what attention returns
  Rows cls_;          // [max_tokens, hidden]: queries of the last layer, the pooled rows
  Rows wide_;         // [kChunk, intermediate]
  float* narrow_;     // [kChunk, hidden]
  void (*attention_)(const AttentionArgs&);
  float* scratch_;  // of attention_
};

}  // namespace rerankd
