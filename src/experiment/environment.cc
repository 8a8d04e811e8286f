#include "experiment/environment.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"

namespace rerankd::experiment {
namespace {

// The instruction sets that matter to the engines, as the kernel names them.
std::string InstructionSets() {
  LineReader reader = [] {
    auto opened = LineReader::Open("/proc/cpuinfo");
    return opened.ok() ? std::move(*opened) : *LineReader::Open("/dev/null");
  }();
  std::string line;
  while (reader.Next(&line) && !line.starts_with("flags")) {
  }
  std::string found;
  for (const char* name : {"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8"})
    if ((line + " ").find(std::string(" ") + name + " ") != std::string::npos)
      found += (found.empty() ? "" : " ") + std::string(name);
  return found.empty() ? "-" : found;
}

std::string Cores(const CpuInfo& cpu) {
  std::string text = fmt::format("{} physical, {} logical", cpu.physical_cores, cpu.logical_cpus);
  if (cpu.quota_cpus > 0) text += fmt::format(", quota of {:.1f}", cpu.quota_cpus);
  return text;
}

std::string Memory() {
  const double bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

std::string System() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "-";
}

std::string Quoted(std::string_view argument) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string_view::npos)
    return std::string(argument);
  std::string quoted = "'";
  for (const char c : argument) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace

NamedValues DescribeEnvironment() {
  const CpuInfo& cpu = GetCpuInfo();
  return {{"CPU", cpu.model},
          {"Instruction sets", InstructionSets()},
          {"Cores", Cores(cpu)},
          {"Memory", Memory()},
          {"System", System()},
          {"rerankd", RERANKD_VERSION},
          {"Compiler", "GCC " __VERSION__}};
}

std::string CommandLine() {
  const auto text = ReadFile("/proc/self/cmdline");
  if (!text.ok() || text->empty()) return "-";
  std::string line;
  for (const std::string_view argument : Split(std::string_view(*text).substr(0, text->size() - 1), '\0'))
    line += (line.empty() ? "" : " ") + Quoted(argument);
  return line;
}

std::string LoadAverage() {
  double load[3] = {};
  if (getloadavg(load, 3) != 3) return "-";
  return fmt::format("{:.2f}, {:.2f}, {:.2f} (1, 5, 15 minutes)", load[0], load[1], load[2]);
}

bool IsOfTheMoment(std::string_view name) { return name == "Command" || name.starts_with("Load average"); }

}  // namespace rerankd::experiment
