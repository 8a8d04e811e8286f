// CPU time and memory of processes.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace rerankd::load {

// Of this process so far. The kernel knows their sum to the nanosecond, but splits it by what it interrupts
// with every tick.
struct CpuSeconds {
  double user = 0, system = 0;
  double total() const { return user + system; }
};
CpuSeconds ProcessCpuSeconds();

struct ProcessUsage {
  double cpu_s = -1;  // user + system so far; negative = not known (the process is gone)
  int64_t resident_bytes = -1;
};
ProcessUsage UsageOf(pid_t pid);

}  // namespace rerankd::load
