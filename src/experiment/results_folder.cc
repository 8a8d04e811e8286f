#include "experiment/results_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/file.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = ".rerankd.lock";

// Whether there was none. Also tries to write there: better now than after the first cell.
Result<bool> MakeFolder(const std::string& path) {
  std::error_code error;
  const bool made = fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    return InvalidArgument(fmt::format("cannot make the results folder {}: {}", path, error.message()));
  const fs::path probe = fs::path(path) / fmt::format(".rerankd_{}", ::getpid());
  const Status status = WriteFileAtomically(probe.string(), "");
  fs::remove(probe, error);
  if (!status.ok()) return status.WithContext("results folder");
  return made;
}

Status Held(const std::string& folder, const std::string& lock_path) {
  const auto pid = ReadFile(lock_path);
  return FailedPrecondition(fmt::format(
      "the results folder {} is in use by another `rerankd experiment run` (pid {}): wait for it, or "
      "write to another folder with --out",
      folder, pid.ok() && !pid->empty() ? *pid : "not known"));
}

// Whether `path` is still the file behind `fd`: its last holder removed it, perhaps after we opened it.
bool IsAt(const std::string& path, int fd) {
  struct stat at_path = {};
  struct stat open = {};
  return ::stat(path.c_str(), &at_path) == 0 && ::fstat(fd, &open) == 0 && at_path.st_ino == open.st_ino;
}

}  // namespace

Result<ResultsFolder> ResultsFolder::Take(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const bool made, MakeFolder(path));
  const std::string lock_path = (fs::path(path) / kLock).string();
  while (true) {
    const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
      return InvalidArgument(
          fmt::format("cannot create the lock {}: {}", lock_path, std::generic_category().message(errno)));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      ::close(fd);
      if (reason == EINTR) continue;
      if (reason == EWOULDBLOCK) return Held(path, lock_path);
      return ResultsFolder(lock_path, -1, made);  // a file system without locks: there is nothing to hold
    }
    if (!IsAt(lock_path, fd)) {
      ::close(fd);
      continue;
    }
    ResultsFolder folder(lock_path, fd, made);
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(fd, 0) != 0 || ::write(fd, pid.data(), pid.size()) < 0)
      return InvalidArgument(
          fmt::format("cannot write the lock {}: {}", lock_path, std::generic_category().message(errno)));
    return folder;
  }
}

ResultsFolder::ResultsFolder(ResultsFolder&& other) noexcept
    : lock_path_(std::move(other.lock_path_)),
      fd_(std::exchange(other.fd_, -1)),
      made_(std::exchange(other.made_, false)) {}

ResultsFolder::~ResultsFolder() {
  if (fd_ >= 0) {
    ::unlink(lock_path_.c_str());  // before the lock is gone: what others open then is a new file
    ::close(fd_);
  }
  if (made_) ::rmdir(fs::path(lock_path_).parent_path().c_str());  // which leaves what is not empty
}

}  // namespace rerankd::experiment
