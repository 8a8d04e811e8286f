#include "load/process_usage.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "base/file.h"
#include "base/text.h"

namespace rerankd::load {

CpuSeconds ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {seconds(usage.ru_utime), seconds(usage.ru_stime)};
}

// proc(5): after the name in brackets, which may hold blanks, field 12 and 13 are the ticks in user and
// system mode, field 22 the resident pages.
ProcessUsage UsageOf(pid_t pid) {
  const auto text = ReadFile(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = text.ok() ? text->rfind(')') : std::string::npos;
  if (name_end == std::string::npos) return {};
  const auto fields = Split(std::string_view(*text).substr(name_end + 2), ' ');
  if (fields.size() < 22) return {};
  const auto number = [&](size_t i) { return std::stod(std::string(fields[i])); };
  return {(number(11) + number(12)) / static_cast<double>(sysconf(_SC_CLK_TCK)),
          static_cast<int64_t>(number(21)) * sysconf(_SC_PAGESIZE)};
}

}  // namespace rerankd::load
