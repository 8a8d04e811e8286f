// oneDNN as provider of matrix products. Private to kernels/: only gemm.cc includes this.
#pragma once

#include <memory>

#include "base/status.h"
#include "kernels/gemm.h"

namespace rerankd {

// Does oneDNN run the instructions of `kernels`? Caps it to them if it has not started yet.
bool OneDnnUses(const KernelSet& kernels);

Result<std::unique_ptr<const Linear>> MakeOneDnnLinear(const LinearWeights& weights,
                                                       const GemmTarget& target);

}  // namespace rerankd
