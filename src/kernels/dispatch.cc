#include "kernels/dispatch.h"

#include <array>
#include <cstdlib>
#include <string>

#include "kernels/scalar/kernels_scalar.h"
#if defined(__x86_64__)
#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/avx2/kernels_avx2.h"
#include "kernels/avx512/kernels_avx512.h"
#include "kernels/avx512amx/kernels_avx512amx.h"
#include "kernels/avx512bf16/kernels_avx512bf16.h"
#include "kernels/avx512vnni/kernels_avx512vnni.h"
#include "kernels/avxvnni/kernels_avxvnni.h"
#elif defined(__aarch64__)
#include <sys/auxv.h>

#include "kernels/neon/kernels_neon.h"
#include "kernels/neondot/kernels_neondot.h"
#include "kernels/neoni8mm/kernels_neoni8mm.h"
#endif

namespace rerankd {
namespace {

#if defined(__x86_64__)
constexpr std::array<const KernelSet*, 7> kBuilt = {
    &scalar::kKernels,     &avx2::kKernels,       &avxvnni::kKernels,  &avx512::kKernels,
    &avx512vnni::kKernels, &avx512bf16::kKernels, &avx512amx::kKernels};

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

// clang 14 does not know its name either.
bool HasAvx512Bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return HasAvx512Vnni() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 5 & 1) != 0;
}

// Tiles of bytes and of bf16. Linux hands out the registers on request, once for the whole process (Linux
// documentation, arch/x86/xstate.rst).
bool HasAmx() {
  constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24, kInt8 = 1U << 25;
  constexpr unsigned long kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!HasAvx512Bf16() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kBf16) == 0 || (edx & kTile) == 0 || (edx & kInt8) == 0) return false;
  static const bool granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, kTileData) == 0;
  return granted;
}
#elif defined(__aarch64__)
constexpr std::array<const KernelSet*, 4> kBuilt = {&scalar::kKernels, &neon::kKernels, &neondot::kKernels,
                                                    &neoni8mm::kKernels};

bool HasDot() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool HasI8mm() { return HasDot() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
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
  if (&kernels == &avx512bf16::kKernels) return HasAvx512Bf16();
  if (&kernels == &avx512amx::kKernels) return HasAmx();
#elif defined(__aarch64__)
  if (&kernels == &neon::kKernels) return true;  // part of the architecture
  if (&kernels == &neondot::kKernels) return HasDot();
  if (&kernels == &neoni8mm::kKernels) return HasI8mm();
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
