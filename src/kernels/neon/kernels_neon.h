#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::neon {

extern const KernelSet kKernels;

}  // namespace rerankd::neon
