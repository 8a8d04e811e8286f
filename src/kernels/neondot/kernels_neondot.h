#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::neondot {

extern const KernelSet kKernels;

}  // namespace rerankd::neondot
