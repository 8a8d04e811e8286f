// All algorithms over the vector type and the inner loops of one instruction set, and the table of them.
#pragma once

// In the order of need: clang-format must not sort these.
#include "kernels/detail/group_inl.h"
//
#include "kernels/detail/math_inl.h"
//
#include "kernels/detail/gemm_inl.h"
//
#include "kernels/detail/encode_inl.h"
//
#include "kernels/detail/attention_inl.h"
#if defined(RERANKD_AMX)
#include "kernels/detail/amx_gemm_inl.h"
//
#include "kernels/detail/bf16_attention_inl.h"
#else
#if defined(RERANKD_BF16)
#include "kernels/detail/bf16_gemm_inl.h"
#endif
#include "kernels/detail/int8_gemm_inl.h"
#endif
#include "kernels/detail/layer_norm_inl.h"
#include "kernels/detail/peak_inl.h"

// Two steps, so that RERANKD_ISA is replaced before it becomes a string.
#define RERANKD_STRING_OF(token) #token
#define RERANKD_STRING(macro) RERANKD_STRING_OF(macro)

namespace rerankd::RERANKD_ISA {

constexpr KernelSet MakeKernelSet() {
  return {
    .name = RERANKD_STRING(RERANKD_ISA), .panel_width = kPanel, .int8 = kInt8, .gemm = Gemm,
    .int8_gemm = Int8Gemm, .encode = Encode, .add_layer_norm = AddLayerNorm, .embed = Embed,
    .attention = Attention, .attention_scratch = AttentionScratch, .softmax = Softmax, .post_op = ApplyPostOp,
    .peak = Peak, .int8_peak = Int8Peak,
#if defined(RERANKD_BF16)
    .bf16_gemm = Bf16Gemm, .bf16_peak = Bf16Peak,
#endif
#if defined(RERANKD_AMX)
    .bf16_attention = Bf16Attention, .bf16_attention_scratch = Bf16AttentionScratch,
#endif
  };
}

}  // namespace rerankd::RERANKD_ISA
