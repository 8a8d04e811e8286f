#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::avx512vnni {

extern const KernelSet kKernels;

}  // namespace rerankd::avx512vnni
