#define RERANKD_ISA avx2
#include "kernels/avx2/kernels_avx2.h"

#include "kernels/detail/vec_avx2.h"
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

namespace rerankd::avx2 {

const KernelSet kKernels = {"avx2",    kPanel,           Gemm,    AddLayerNorm, Embed,
                            Attention, AttentionScratch, Softmax, ApplyPostOp,  Peak};

}  // namespace rerankd::avx2
