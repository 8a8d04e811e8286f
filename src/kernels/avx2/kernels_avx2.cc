#define RERANKD_ISA avx2
#include "kernels/avx2/kernels_avx2.h"

#include "kernels/detail/vec_avx2.h"
// The algorithms need the vector type first.
#include "kernels/detail/int8_bytes_inl.h"
//
#include "kernels/detail/kernels_inl.h"

namespace rerankd::avx2 {

const KernelSet kKernels = MakeKernelSet("avx2");

}  // namespace rerankd::avx2
