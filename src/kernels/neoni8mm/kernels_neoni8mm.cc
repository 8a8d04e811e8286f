#define RERANKD_ISA neoni8mm
#include "kernels/neoni8mm/kernels_neoni8mm.h"

// In the order of need: clang-format must not sort these.
#include "kernels/detail/vec_neon.h"
//
#include "kernels/detail/multiply_neon_inl.h"
//
#include "kernels/detail/int8_i8mm_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::neoni8mm {

const KernelSet kKernels = MakeKernelSet();

}  // namespace rerankd::neoni8mm
