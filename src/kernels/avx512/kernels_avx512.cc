#define RERANKD_ISA avx512
#include "kernels/avx512/kernels_avx512.h"

#include "kernels/detail/vec_avx512.h"
// The algorithms need the vector type first.
#include "kernels/detail/group_inl.h"
//
#include "kernels/detail/math_inl.h"
//
#include "kernels/detail/gemm_inl.h"
//
#include "kernels/detail/attention_inl.h"
#include "kernels/detail/layer_norm_inl.h"
#include "kernels/detail/peak_inl.h"

namespace rerankd::avx512 {

const KernelSet kKernels = {"avx512",  kPanel,           Gemm,    AddLayerNorm, Embed,
                            Attention, AttentionScratch, Softmax, ApplyPostOp,  Peak};

}  // namespace rerankd::avx512
