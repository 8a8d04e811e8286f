#define RERANKD_ISA avx512vnni
#include "kernels/avx512vnni/kernels_avx512vnni.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx512.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/int8_dot_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx512vnni {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avx512vnni
