// A server as a child process: started on free ports, watched, stopped.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "experiment/record.h"
#include "load/process_usage.h"

namespace rerankd::experiment {

struct ServerCommand {
  std::vector<std::string> arguments;  // [0] = the program
  double ready_timeout_s = 120;
};

// Owns the child: the destructor stops it. The child has a process group of its own (an interrupt typed at
// the terminal reaches only us) and dies with us. Used from one thread.
class ServerProcess {
 public:
  // Returns once the child has written its ready line. kUnavailable, with the end of its log: it ended before
  // that, or took too long; kFailedPrecondition: its log says that this machine cannot run it; kCancelled:
  // `interrupt` was set.
  static Result<std::unique_ptr<ServerProcess>> Start(const ServerCommand& command,
                                                      const std::atomic<bool>& interrupt);
  // `program serve --config FILE`, where the file holds `configuration`.
  static Result<std::unique_ptr<ServerProcess>> Serve(const std::string& program,
                                                      const std::string& configuration,
                                                      double ready_timeout_s,
                                                      const std::atomic<bool>& interrupt);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Of the ready line, in its order: "grpc", "http", "model", "backend" …
  const NamedValues& ready() const { return ready_; }
  std::string grpc_address() const { return Address("grpc"); }
  std::string http_address() const { return Address("http"); }  // empty = none

  bool Alive();
  bool EndsWithin(double seconds);   // waits for a child whose connection has just broken
  std::string WhyDead() const;       // "exit code 1; its log ends: …"
  load::ProcessUsage Usage() const;  // negative values = not known
  void Stop();                       // TERM, after 10 s KILL

 private:
  ServerProcess() = default;
  Status Spawn(const ServerCommand& command);
  Status WaitReady(const ServerCommand& command, const std::atomic<bool>& interrupt);
  void ReadLog();
  void KeepLine(const std::string& line);
  std::string LogTail() const;
  std::string Address(const std::string& name) const;
  void Reap(int status);

  pid_t pid_ = -1;  // -1 once reaped
  int log_fd_ = -1;
  std::string exit_text_;
  NamedValues ready_;
  std::thread reader_;

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  std::deque<std::string> log_;
  std::string ready_line_;
  bool closed_ = false;
};

}  // namespace rerankd::experiment
