#define RERANKD_ISA neondot
#include "kernels/neondot/kernels_neondot.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_neon.h"
//
#include "kernels/detail/multiply_neon_inl.h"
//
#include "kernels/detail/int8_neon_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::neondot {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::neondot
