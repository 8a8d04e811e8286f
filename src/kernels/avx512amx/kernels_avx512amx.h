#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::avx512amx {

extern const KernelSet kKernels;

}  // namespace rerankd::avx512amx
