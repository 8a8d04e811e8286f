#define RERANKD_ISA avx512
#include "kernels/avx512/kernels_avx512.h"

#include "kernels/detail/vec_avx512.h"
// The algorithms need the vector type first.
#include "kernels/detail/int8_bytes_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx512 {

const KernelSet kKernels = MakeKernelSet("avx512");

}  // namespace rerankd::avx512
