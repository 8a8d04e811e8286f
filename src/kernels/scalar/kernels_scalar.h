#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::scalar {

extern const KernelSet kKernels;

}  // namespace rerankd::scalar
