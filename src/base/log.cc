#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/file.h"

namespace rerankd {
namespace {

constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                 spdlog::level::warn, spdlog::level::err, spdlog::level::off};

constexpr size_t kLongestLine = 4096;  // PIPE_BUF: so much fits where WaitWritable says so
constexpr int kPatienceMs = 1000;

class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    stalled_ = !WaitWritable(STDERR_FILENO, stalled_ ? 0 : kPatienceMs);
    if (stalled_) return;
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (line.size() > kLongestLine) {
      line.resize(kLongestLine);
      line[kLongestLine - 1] = '\n';
    }
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  }
  void flush_() override {}

  bool stalled_ = false;
};

spdlog::logger& Logger() {
  static spdlog::logger* const logger = [] {  // never destroyed: threads may log while the process ends
    auto* made = new spdlog::logger("rerankd", std::make_shared<StderrSink>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %L %v");
    return made;
  }();
  return *logger;
}

bool NeedsQuotes(const std::string& value) {
  return value.empty() || value.find_first_of(" \t\n\"=") != std::string::npos;
}

}  // namespace

void SetLogLevel(LogLevel level) { Logger().set_level(kLevels[static_cast<int>(level)]); }

LogLevel GetLogLevel() {
  for (int i = 0; i < 5; ++i)
    if (kLevels[i] == Logger().level()) return static_cast<LogLevel>(i);
  return LogLevel::kInfo;
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  const auto spd_level = kLevels[static_cast<int>(level)];
  if (!Logger().should_log(spd_level)) return;
  std::string line(message);
  for (const LogField& field : fields) {
    line += NeedsQuotes(field.value) ? fmt::format(" {}={:?}", field.key, field.value)
                                     : fmt::format(" {}={}", field.key, field.value);
  }
  Logger().log(spd_level, line);
}

}  // namespace rerankd
