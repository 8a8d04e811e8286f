#define RERANKD_ISA avx512amx
#define RERANKD_AMX
#include "kernels/avx512amx/kernels_avx512amx.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_avx512.h"
//
#include "kernels/detail/multiply_x86_inl.h"
//
#include "kernels/detail/bf16_dot_inl.h"
#include "kernels/detail/int8_dot_inl.h"
#include "kernels/detail/tiles_amx.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx512amx {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::avx512amx
