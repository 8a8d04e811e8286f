#define RERANKD_ISA avxvnni
#include "kernels/avxvnni/kernels_avxvnni.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx2.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/int8_dot_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avxvnni {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avxvnni
