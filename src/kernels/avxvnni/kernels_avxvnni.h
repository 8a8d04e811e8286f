#pragma once

#include "kernels/kernel_set.h"

namespace rerankd::avxvnni {

extern const KernelSet kKernels;

}  // namespace rerankd::avxvnni
