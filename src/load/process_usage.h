// CPU time and memory of processes.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace rerankd::load {

double ProcessCpuSeconds();  // user + system of this process so far

struct ProcessUsage {
  double cpu_s = -1;  // user + system so far; negative = not known (the process is gone)
  int64_t resident_bytes = -1;
};
ProcessUsage UsageOf(pid_t pid);

}  // namespace rerankd::load
