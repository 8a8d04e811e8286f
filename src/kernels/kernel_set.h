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

// What a matrix product multiplies. Sums, and everything that is not a product, are fp32 (int8: exact int32).
enum class Precision { kFp32, kBf16, kInt8 };

// Rows as an int8 or a bf16 product reads them.
// int8: x = scale * (code - zero), where scale and zero come from the smallest and the largest value of the
// row itself. Codes are as the kernel set's Int8Traits say; rows are padded with anything to a multiple of
// kCodeAlignment codes.
// bf16: a code is the upper half of the value's bits, rounded to the nearest (ties to even). Rows are padded
// with zero to a multiple of kCodeAlignment codes.
struct CodedRows {
  unsigned char* codes;  // [rows, stride]; null: nobody reads codes
  long stride;           // in bytes, a multiple of kCodeAlignment codes
  float* scales;         // [rows]; this and the next one: int8 only
  int* zeros;            // [rows]
  Precision precision = Precision::kInt8;
};
// Panels of int8 and bf16 weights are padded with zeros to a multiple of it, too.
constexpr int kCodeAlignment = 64;
constexpr int kBf16Group = 2;  // neighbours of the depth side by side in a panel of bf16 weights

// How a kernel set multiplies int8 weights, and so how these are packed (panels.h).
struct Int8Traits {
  int panel_width;  // columns of a weight panel
  // Bytes of a code: 1, codes are lowest_code .. lowest_code + 255; or 2, codes are int16 of both signs and
  // zero is 0. Their magnitude is then at most kWideSum / width, so that no sum of `width` products with
  // weights of up to 127 leaves int32.
  int code_bytes;
  int lowest_code;  // 0, or -128: codes are int8
  int group;        // neighbours of the depth that lie side by side in a panel
  bool dot;         // has an instruction for dot products of bytes (VNNI or its like)
};
constexpr int kWideSum = 2147483647 / 127;

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

// The same with a and w in int8: c[i, j] = post(a.scales[i] * scales[j] * sum_k (a.codes[i, k] - a.zeros[i])
// * w[j, k] + bias[j]). The sum is exact.
struct Int8GemmArgs {
  CodedRows a;
  float* c;  // [m, n], stride ldc
  long ldc;
  const signed char*
      panels;           // w as PackPanels writes it for int8.panel_width and int8.group, 64-byte aligned
  const float* scales;  // of the columns; this and the next two: [n rounded up to the panel width]
  const int* sums;      // sum_k w[j, k]
  const float* bias;
  int m, n, k;
  PostOp post;
};

// c[i, j] = post(sum_k a.codes[i, k] * w[j, k] + bias[j]) in bf16; the sum is fp32.
struct Bf16GemmArgs {
  CodedRows a;
  float* c;  // [m, n], stride ldc
  long ldc;
  // w in bf16, as PackPanels writes it for this set's panel width and kBf16Group, 64-byte aligned
  const unsigned short* panels;
  const float* bias;  // [n rounded up to the panel width]
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
  CodedRows coded;  // gets out once more
};

// A table of embeddings: fp32, or int8 with a scale for each row.
struct EmbeddingTable {
  const float* values;       // [rows, width]; null if the table is int8
  const signed char* codes;  // [rows, width]
  const float* scales;       // [rows]
};

// out[i, :] = LayerNorm(words[ids[i]] + types[type_ids[i]] + positions[i]): the tokens of one pair.
// Every id must be inside its table.
struct EmbedArgs {
  const int* ids;                 // [tokens]
  const unsigned char* type_ids;  // [tokens]
  EmbeddingTable words;           // [vocabulary, width]
  const float* types;             // [type vocabulary, width]
  const float* positions;         // [>= tokens, width]
  const float* gamma;
  const float* beta;
  float* out;  // [tokens, width]
  int tokens, width;
  float epsilon;
  CodedRows coded;  // gets out once more
};

// Writes the codes of fp32 rows, in int8 or in bf16.
struct EncodeArgs {
  const float* x;  // [rows, width], contiguous
  int rows, width;
  CodedRows coded;
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
  Int8Traits int8;
  void (*gemm)(const GemmArgs&);
  void (*int8_gemm)(const Int8GemmArgs&);
  void (*encode)(const EncodeArgs&);
  void (*add_layer_norm)(const LayerNormArgs&);
  void (*embed)(const EmbedArgs&);
  void (*attention)(const AttentionArgs&);
  long (*attention_scratch)(int keys, int head_size);
  void (*softmax)(float* rows, int count, int width);     // each of `count` rows, in place
  void (*post_op)(PostOp op, float* values, long count);  // in place
  // Keep the multiply-add units busy from registers for `rounds` rounds, with the instructions of `gemm` and
  // of `int8_gemm`; return the operations done (a multiply-add is two). What they reach per second is the
  // peak that a report divides by.
  double (*peak)(long rounds);
  double (*int8_peak)(long rounds);
  // Of a set that has instructions for products of bf16 (and of the reference); else both are null, and
  // nobody may ask for codes in bf16.
  void (*bf16_gemm)(const Bf16GemmArgs&) = nullptr;
  double (*bf16_peak)(long rounds) = nullptr;
  // Attention whose products are of bf16: queries, keys, values and the weights of the softmax are rounded.
  // Null where it would not be faster.
  void (*bf16_attention)(const AttentionArgs&) = nullptr;
  long (*bf16_attention_scratch)(int keys, int head_size) = nullptr;
};

}  // namespace rerankd
