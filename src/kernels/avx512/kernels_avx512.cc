#define RERANKD_ISA avx512
#include "kernels/avx512/kernels_avx512.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx512.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/int8_words_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx512 {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avx512
