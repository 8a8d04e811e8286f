#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

namespace rerankd {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The value after "key<tab>: " in a /proc file; empty if absent.
std::string ProcField(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

int64_t ParseCacheSize(const std::string& text) {  // "512K", "32M"
  if (text.empty()) return 0;
  const int64_t value = std::atoll(text.c_str());
  if (text.back() == 'K') return value << 10;
  if (text.back() == 'M') return value << 20;
  return value;
}

int64_t CacheBytes(int cpu, int level) {
  const std::string base = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cache/index";
  for (int index = 0; index < 6; ++index) {
    const std::string dir = base + std::to_string(index) + "/";
    if (FirstLine(dir + "level") == std::to_string(level) && FirstLine(dir + "type") != "Instruction")
      return ParseCacheSize(FirstLine(dir + "size"));
  }
  return 0;
}

double CgroupQuota() {
  std::istringstream v2(FirstLine("/sys/fs/cgroup/cpu.max"));  // "max 100000" or "150000 100000"
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) return std::atof(quota.c_str()) / period;
  const double v1 = std::atof(FirstLine("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").c_str());
  const double v1_period = std::atof(FirstLine("/sys/fs/cgroup/cpu/cpu.cfs_period_us").c_str());
  return v1 > 0 && v1_period > 0 ? v1 / v1_period : 0;
}

CpuInfo Probe() {
  CpuInfo info;
  info.model = ProcField("/proc/cpuinfo", "model name");
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::set<std::pair<std::string, std::string>> cores;
  int first = 0;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    info.logical_cpus = CPU_COUNT(&mask);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
      if (!CPU_ISSET(cpu, &mask)) continue;
      first = cpu;
      const std::string dir = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      const std::string core = FirstLine(dir + "core_id");
      cores.emplace(FirstLine(dir + "physical_package_id"), core.empty() ? std::to_string(cpu) : core);
    }
  }
  info.physical_cores = std::max<int>(1, static_cast<int>(cores.size()));
  info.quota_cpus = CgroupQuota();
  info.l2_bytes = CacheBytes(first, 2);
  info.l3_bytes = CacheBytes(first, 3);
  return info;
}

int64_t StatusKiB(const std::string& key) {
  return std::atoll(ProcField("/proc/self/status", key).c_str()) << 10;
}

}  // namespace

const CpuInfo& GetCpuInfo() {
  static const CpuInfo info = Probe();
  return info;
}

int WorkerThreads(int requested) {
  if (requested > 0) return requested;
  const CpuInfo& cpu = GetCpuInfo();
  int workers = cpu.physical_cores;
  if (cpu.quota_cpus > 0) workers = std::min(workers, static_cast<int>(std::ceil(cpu.quota_cpus)));
  return std::max(1, workers);
}

void SetThreadName(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

int64_t ResidentBytes() { return StatusKiB("VmRSS"); }
int64_t PeakResidentBytes() { return StatusKiB("VmHWM"); }

}  // namespace rerankd
