#include "kernels/dispatch.h"

#include <array>
#include <cstdlib>
#include <string>

#include "kernels/scalar/kernels_scalar.h"
#if defined(__x86_64__)
#include <cpuid.h>

#include "kernels/avx2/kernels_avx2.h"
#include "kernels/avx512/kernels_avx512.h"
#include "kernels/avx512vnni/kernels_avx512vnni.h"
#include "kernels/avxvnni/kernels_avxvnni.h"
#endif

namespace rerankd {
namespace {

#if defined(__x86_64__)
constexpr std::array<const KernelSet*, 5> kBuilt = {&scalar::kKernels, &avx2::kKernels, &avxvnni::kKernels,
                                                    &avx512::kKernels, &avx512vnni::kKernels};

bool HasAvx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; }

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
}

// clang 14 does not know its name.
bool HasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return HasAvx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

bool HasAvx512Vnni() { return HasAvx512() && __builtin_cpu_supports("avx512vnni") != 0; }
#else
constexpr std::array<const KernelSet*, 1> kBuilt = {&scalar::kKernels};
#endif

std::string Names(bool only_running) {
  std::string names;
  for (const KernelSet* kernels : kBuilt) {
    if (only_running && !Runs(*kernels)) continue;
    names += (names.empty() ? "" : ", ") + std::string(kernels->name);
  }
  return names;
}

}  // namespace

std::span<const KernelSet* const> BuiltKernelSets() { return kBuilt; }

bool Runs(const KernelSet& kernels) {
#if defined(__x86_64__)
  if (&kernels == &avx2::kKernels) return HasAvx2();
  if (&kernels == &avxvnni::kKernels) return HasAvxVnni();
  if (&kernels == &avx512::kKernels) return HasAvx512();
  if (&kernels == &avx512vnni::kKernels) return HasAvx512Vnni();
#endif
  return &kernels == &scalar::kKernels;
}

Result<const KernelSet*> ChooseKernels(std::string_view name) {
  const KernelSet* best = nullptr;
  for (const KernelSet* kernels : kBuilt) {
    if (name.empty() ? Runs(*kernels) : name == kernels->name) best = kernels;
  }
  if (best == nullptr) {
    return InvalidArgument("unknown instruction set \"" + std::string(name) + "\"; known: " + Names(false));
  }
  if (!Runs(*best)) {
    return FailedPrecondition("this CPU cannot run the instruction set " + std::string(name) +
                              "; it can run: " + Names(true));
  }
  return best;
}

Result<const KernelSet*> ChooseKernelsFromEnvironment() {
  const char* name = std::getenv("RERANKD_ISA");  // NOLINT(concurrency-mt-unsafe): nothing here sets it
  Result<const KernelSet*> kernels = ChooseKernels(name == nullptr ? "" : name);
  if (!kernels.ok()) return kernels.status().WithContext("RERANKD_ISA");
  return kernels;
}

}  // namespace rerankd
