#include "serving/access_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/cpu.h"
#include "base/file.h"
#include "base/log.h"

namespace rerankd::serving {
namespace {

constexpr int64_t kTellEvery = 1000;  // lost lines
constexpr int kPatienceMs = 1000;     // with a reader of stderr
constexpr size_t kLongestMethod = 32;
constexpr size_t kLongestPath = 512;  // of what a client names: a line must fit into 4,096 bytes, escaped

// Microseconds are all that a clock reading is worth.
double Rounded(double ms) { return std::round(ms * 1000) / 1000; }

std::string UtcNow() {
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::time_point_cast<std::chrono::seconds>(now);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                     (now - seconds).count());
}

}  // namespace

std::string AccessLine(const AccessRecord& record) {
  nlohmann::ordered_json line = {{"time", UtcNow()},
                                 {"protocol", record.protocol},
                                 {"method", record.method.substr(0, kLongestMethod)},
                                 {"route", record.route.substr(0, kLongestPath)},
                                 {"status", record.status},
                                 {"total_ms", Rounded(record.total_ms)},
                                 {"request_id", record.request_id}};
  if (!record.traceparent.empty()) line["traceparent"] = record.traceparent;
  if (!record.caller.empty()) line["caller"] = record.caller;
  line["peer"] = record.peer;
  line["request_bytes"] = record.request_bytes;
  line["reply_bytes"] = record.reply_bytes;
  if (record.scored) {
    line["documents"] = record.scored->documents;
    line["tokens"] = record.scored->counts.real;
    line["truncated"] = record.scored->counts.truncated_pairs;
    line["queue_ms"] = Rounded(record.scored->timings.queue_ms);
    line["tokenization_ms"] = Rounded(record.scored->timings.tokenize_ms);
    line["inference_ms"] = Rounded(record.scored->timings.inference_ms);
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<std::unique_ptr<AccessLog>> AccessLog::Open(const std::string& where) {
  std::unique_ptr<AccessLog> log(new AccessLog(where));
  if (!log->on()) return log;
  RERANKD_RETURN_IF_ERROR(log->Reopen());
  log->writer_ = std::thread([raw = log.get()] { raw->Run(); });
  return log;
}

AccessLog::~AccessLog() {
  queue_.Close();
  if (writer_.joinable()) writer_.join();
  if (fd_ > STDERR_FILENO) ::close(fd_);
}

Status AccessLog::Reopen() {
  if (!on()) return {};
  const int fd = where_ == "stderr" ? STDERR_FILENO
                                    : ::open(where_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0)
    return Unavailable("cannot write the access log '" + where_ +
                       "' (server.access_log): " + std::strerror(errno));
  std::lock_guard lock(mutex_);
  if (fd_ > STDERR_FILENO) ::close(fd_);
  fd_ = fd;
  torn_ = false;
  return {};
}

void AccessLog::Write(const AccessRecord& record) {
  if (!on()) return;
  if (!queue_.TryPush(AccessLine(record) + "\n")) Lose("the disk is too slow");
}

void AccessLog::Run() {
  SetThreadName("access-log");
  while (const std::optional<std::string> line = queue_.Pop()) WriteLine(*line);
}

void AccessLog::WriteLine(const std::string& line) {
  std::lock_guard lock(mutex_);
  if (fd_ == STDERR_FILENO) {
    stalled_ = !WaitWritable(fd_, stalled_ ? 0 : kPatienceMs);
    if (stalled_) return Lose("nobody reads stderr");
  }
  const std::string text = torn_ ? "\n" + line : line;
  ssize_t written = 0;
  do {
    written = ::write(fd_, text.data(), text.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(text.size())) {
    torn_ = false;
    return;
  }
  const std::string reason = written < 0 ? std::strerror(errno) : "the disk is full";
  torn_ = torn_ || written > 0;
  Lose(reason);
}

void AccessLog::Lose(const std::string& reason) {
  const int64_t lost = ++lost_;
  if (lost % kTellEvery == 1)
    Log(LogLevel::kWarning, "lines of the access log are lost", {{"lost", lost}, {"reason", reason}});
}

}  // namespace rerankd::serving
