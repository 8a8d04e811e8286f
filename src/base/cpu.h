// What this machine offers: cores we may use, caches, names; and the few thread calls that the standard
// lacks.
#pragma once

#include <cstdint>
#include <string>

namespace rerankd {

struct CpuInfo {
  std::string model;       // "AMD EPYC 7763 …" as the kernel spells it
  int logical_cpus = 1;    // in this process' affinity mask
  int physical_cores = 1;  // distinct cores in the affinity mask
  double quota_cpus = 0;   // cgroup CPU quota in CPUs; 0 = none
  int64_t l2_bytes = 0;    // per core; 0 = unknown
  int64_t l3_bytes = 0;
};

// Read once from sched_getaffinity, sysfs and the cgroup files (v2, then v1).
const CpuInfo& GetCpuInfo();

// Workers to start: `requested` if positive, else min(physical cores, ceil(quota)), at least 1.
int WorkerThreads(int requested);

void SetThreadName(const std::string& name);  // cut to the 15 bytes that Linux keeps

// Resident set and its peak of this process, in bytes (VmRSS, VmHWM).
int64_t ResidentBytes();
int64_t PeakResidentBytes();

}  // namespace rerankd
