// Structured log lines on stderr. Thread-safe. Never called per token or per pair. While nobody reads a full
// pipe behind stderr, lines are dropped after a second: a log that stalls must not stall the program.
//   Log(LogLevel::kInfo, "listening", {{"grpc", address}, {"pairs", 12}});
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace rerankd {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

struct LogField {
  template <typename T>
  LogField(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
  std::string_view key;
  std::string value;
};

void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace rerankd
