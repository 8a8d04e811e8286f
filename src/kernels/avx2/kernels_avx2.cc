#define RERANKD_ISA avx2
#include "kernels/avx2/kernels_avx2.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx2.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/int8_words_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx2 {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avx2
