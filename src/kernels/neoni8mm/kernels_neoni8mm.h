#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::neoni8mm {

extern const KernelSet kKernels;

}  // namespace rerankd::neoni8mm
