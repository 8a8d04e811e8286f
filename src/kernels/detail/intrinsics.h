// The x86 intrinsics. Tests build the instruction sets that a machine lacks a second time, emulated by SIMDe.
#pragma once

#ifdef RERANKD_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#else
#include <immintrin.h>
#endif
