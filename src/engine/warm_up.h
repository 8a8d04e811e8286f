// Runs new backends once, so that the first requests find memory touched and kernels made.
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "core/backend.h"

namespace rerankd {

// Lengths of pairs from the longest, which sizes the buffers, down to short ones, each a quarter of the one
// before: engines that compile or plan for a shape meet those of every order of magnitude, in few runs.
std::vector<int> WarmUpLengths(int max_length);

// All backends at once: each touches its own memory.
Status WarmUp(const std::vector<std::unique_ptr<Backend>>& backends, int max_length);

}  // namespace rerankd
