#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::avx2 {

extern const KernelSet kKernels;

}  // namespace rerankd::avx2
