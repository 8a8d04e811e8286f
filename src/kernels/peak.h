// The multiply-add peak of this machine, measured: what every share of peak divides by.
#pragma once

#include <string>

#include "kernels/kernel_set.h"

namespace rerankd {

// Multiply-adds a second that `threads` threads reach together on registers, with the instructions that
// `precision` ("fp32", "bf16", "int8") uses in `kernels`; 0 if it has none. The best of a few slices of some
// milliseconds a thread: other programs' work can only make a share look smaller, never larger.
double MeasurePeak(const KernelSet& kernels, const std::string& precision, int threads);

}  // namespace rerankd
