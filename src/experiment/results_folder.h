// The folder that an experiment writes to: made if need be, and used by one `experiment run` at a time.
#pragma once

#include <string>

#include "base/status.h"

namespace rerankd::experiment {

// Holds the folder until destruction, also against other processes: an flock on the file ".rerankd.lock" in
// it, which holds the pid and goes with the lock. A process that is killed leaves the file but no lock. A
// folder that was made here and is still empty goes with the lock too.
class ResultsFolder {
 public:
  // kInvalidArgument: cannot be made or written; kFailedPrecondition: another process holds it (names its
  // pid).
  static Result<ResultsFolder> Take(const std::string& path);
  ResultsFolder(ResultsFolder&& other) noexcept;
  ResultsFolder& operator=(ResultsFolder&&) = delete;
  ~ResultsFolder();

 private:
  ResultsFolder(std::string lock_path, int fd, bool made)
      : lock_path_(std::move(lock_path)), fd_(fd), made_(made) {}

  std::string lock_path_;
  int fd_;  // negative = moved from, or a file system without locks
  bool made_;
};

}  // namespace rerankd::experiment
