#define RERANKD_ISA avx512bf16
#include "kernels/avx512bf16/kernels_avx512bf16.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx512.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/bf16_dot_inl.h"
#include "kernels/detail/int8_dot_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx512bf16 {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avx512bf16
