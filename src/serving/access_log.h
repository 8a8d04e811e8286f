// The access log: one JSON line a request, of both servers. Lines are written by a thread of its own; a slow
// or full disk, or a pipe that nobody reads, costs lines (counted, and told in the program's log), never
// requests. Texts of users are never logged. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/bounded_queue.h"
#include "base/status.h"
#include "core/request.h"

namespace rerankd::serving {

// What a scored request adds.
struct Scored {
  int64_t documents = 0;
  TokenCounts counts;
  Timings timings;
};

struct AccessRecord {
  std::string protocol;  // "http", "grpc"
  std::string method;    // "POST", "Infer"
  std::string route;     // the path without its query, the gRPC service
  int status = 0;        // HTTP status or gRPC code
  std::string request_id, traceparent, caller, peer;
  int64_t request_bytes = 0, reply_bytes = 0;
  double total_ms = 0;
  std::optional<Scored> scored;
};

class AccessLog {
 public:
  // `where`: "off", "stderr", or a file that is appended to. kUnavailable names the file.
  static Result<std::unique_ptr<AccessLog>> Open(const std::string& where);
  ~AccessLog();  // writes what is queued

  bool on() const { return where_ != "off"; }
  void Write(const AccessRecord& record);

  // Opens the file anew, for log rotation (SIGHUP).
  Status Reopen();

  int64_t lost() const { return lost_; }  // lines that could not be written

 private:
  explicit AccessLog(std::string where) : where_(std::move(where)) {}
  void Run();
  void WriteLine(const std::string& line);
  void Lose(const std::string& reason);

  const std::string where_;
  std::mutex mutex_;  // of fd_
  int fd_ = -1;
  bool stalled_ = false;  // nobody reads stderr
  bool torn_ = false;     // the last line was written in part
  std::atomic<int64_t> lost_{0};
  BoundedQueue<std::string> queue_{1 << 16};
  std::thread writer_;
};

// The line of a record, without the end of line.
std::string AccessLine(const AccessRecord& record);

}  // namespace rerankd::serving
