// Counts the calls of operator new of the program that links it (tests only).
#pragma once

#include <cstdint>

namespace rerankd {

int64_t Allocations();

}  // namespace rerankd
