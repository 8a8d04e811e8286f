// The CPU operators of the encoder: one table of coarse functions per instruction set. All matrices are
// row-major fp32, strides count floats, buffers may be unaligned unless said otherwise. Functions keep no
// state, allocate nothing and are safe to call from any number of threads.
//
// Contract: a row of a result is a pure function of that row's inputs: it never depends on how many rows
// there are, nor on which of them it is. Sums run in an order that is fixed by widths alone.
//
// Included by files built with ISA flags: plain data only, no inline code, no std (see detail/README.md).
#pragma once

namespace rerankd {

// What follows a matrix product, element by element.
enum class PostOp {
  kNone,
  kGelu,      // x * Phi(x), exact to fp32 rounding (erf form)
  kGeluTanh,  // the tanh form, "gelu_new"
  kRelu,
  kTanh,
};

// c[i, j] = post(sum_k a[i, k] * w[j, k] + bias[j]).
struct GemmArgs {
  const float* a;  // [m, k], stride lda
  long lda;
  float* c;  // [m, n], stride ldc; does not overlap a
  long ldc;
  const float* panels;  // w as PackPanels writes it for this kernel set's panel width, 64-byte aligned
  const float* bias;    // [n rounded up to the panel width]
  int m, n, k;
  PostOp post;
};

// out[i, :] = LayerNorm(x[i, :] + residual[i, :]). Rows are contiguous [rows, width]; out may be x or
// residual.
struct LayerNormArgs {
  const float* x;
  const float* residual;
  const float* gamma;  // [width]
  const float* beta;   // [width]
  float* out;
  int rows, width;
  float epsilon;
};

// out[i, :] = LayerNorm(words[ids[i]] + types[type_ids[i]] + positions[i]): the tokens of one pair.
// Every id must be inside its table.
struct EmbedArgs {
  const int* ids;                 // [tokens]
  const unsigned char* type_ids;  // [tokens]
  const float* words;             // [vocabulary, width]
  const float* types;             // [type vocabulary, width]
  const float* positions;         // [>= tokens, width]
  const float* gamma;
  const float* beta;
  float* out;  // [tokens, width]
  int tokens, width;
  float epsilon;
};

// out = softmax(q k^T) v for every head of one pair, on its exact length. 1/sqrt(head size) is already in q.
// Head h takes columns [h * head_size, (h + 1) * head_size) of every matrix.
struct AttentionArgs {
  const float* q;  // [queries, heads * head_size]
  long q_stride;
  const float* k;  // [keys, heads * head_size]
  const float* v;
  long kv_stride;
  float* out;  // [queries, heads * head_size]
  long out_stride;
  float* scratch;  // attention_scratch(keys, head_size) floats, 64-byte aligned
  int queries, keys, heads, head_size;
};

struct KernelSet {
  const char* name;
  int panel_width;  // columns of a weight panel (see PackPanels)
  void (*gemm)(const GemmArgs&);
  void (*add_layer_norm)(const LayerNormArgs&);
  void (*embed)(const EmbedArgs&);
  void (*attention)(const AttentionArgs&);
  long (*attention_scratch)(int keys, int head_size);
  void (*softmax)(float* rows, int count, int width);     // each of `count` rows, in place
  void (*post_op)(PostOp op, float* values, long count);  // in place
  // Keeps the multiply-add units busy from registers for `rounds` rounds; returns the floating-point
  // operations done. What this reaches per second is the peak that a report divides by.
  double (*peak)(long rounds);
};

}  // namespace rerankd
