#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::avx512bf16 {

extern const KernelSet kKernels;

}  // namespace rerankd::avx512bf16
