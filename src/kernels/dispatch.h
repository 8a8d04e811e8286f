// Which kernel set runs on this machine. The order is fixed, slowest first: scalar, then avx2, avxvnni,
// avx512, avx512vnni, avx512bf16, avx512amx on x86-64, or neon, neondot, neoni8mm on aarch64.
#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "kernels/kernel_set.h"

namespace rerankd {

// Every set built into this program, slowest first.
std::span<const KernelSet* const> BuiltKernelSets();

// Can this machine (CPU and operating system) run it?
bool Runs(const KernelSet& kernels);

// The set called `name`; empty = the fastest that runs here. kInvalidArgument for a name that is not built,
// kFailedPrecondition for one that this machine cannot run: never another one instead.
Result<const KernelSet*> ChooseKernels(std::string_view name);

// ChooseKernels of the environment variable RERANKD_ISA.
Result<const KernelSet*> ChooseKernelsFromEnvironment();

}  // namespace rerankd
