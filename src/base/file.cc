#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>
#include <vector>

namespace rerankd {
namespace {

Status SystemError(const std::string& path, const char* action) {
  const int error = errno;
  const std::string message = std::string("cannot ") + action + " '" + path + "': " + std::strerror(error);
  return error == ENOENT ? NotFound(message) : Internal(message);
}

}  // namespace

Result<std::string> ReadFile(const std::string& path) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec))
    return InvalidArgument("'" + path + "' is a folder, not a file");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return SystemError(path, "open");
  std::ostringstream content;
  content << in.rdbuf();
  if (in.bad()) return SystemError(path, "read");
  return std::move(content).str();
}

Status WriteFileAtomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  errno = 0;
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  if (!out) return SystemError(temporary, "create");
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  if (!out || std::rename(temporary.c_str(), path.c_str()) != 0) {
    Status status = SystemError(path, "write");
    ::unlink(temporary.c_str());
    return status;
  }
  return {};
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "open");
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return InvalidArgument("'" + path + "' is not a regular file");
  }
  MappedFile file;
  file.size_ = static_cast<size_t>(info.st_size);
  if (file.size_ > 0) {
    void* mapped = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) {
      Status status = SystemError(path, "map");
      ::close(fd);
      file.size_ = 0;
      return status;
    }
    file.data_ = static_cast<const std::byte*>(mapped);
  }
  ::close(fd);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::Release(std::span<const std::byte> part) const {
  const auto start = reinterpret_cast<uintptr_t>(data_), from = reinterpret_cast<uintptr_t>(part.data());
  if (from < start || from + part.size() > start + size_) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (from + page - 1) / page * page, end = (from + part.size()) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

struct LineReader::State {
  std::string path;
  gzFile file = nullptr;
  std::vector<char> buffer = std::vector<char>(1 << 16);
  size_t begin = 0, end = 0;  // the unread part of buffer
  int64_t line_number = 0;
  Status status;

  ~State() {
    if (file != nullptr) gzclose(file);
  }

  // False at the end of the file or on an error, which `status` then holds.
  bool Fill() {
    const int got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()));
    begin = 0;
    end = static_cast<size_t>(std::max(got, 0));
    int error = Z_OK;
    const char* reason = gzerror(file, &error);
    if (error == Z_BUF_ERROR) {
      status = Internal("'" + path + "' ends inside compressed data: the file is cut");
    } else if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
      status =
          Internal("cannot read '" + path + "' after line " + std::to_string(line_number) + ": " + reason);
    }
    return end > 0 && status.ok();
  }
};

int64_t OpenFileLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min<rlim_t>(files.rlim_cur, std::numeric_limits<int64_t>::max()));
}

int64_t RaiseOpenFileLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  return OpenFileLimit();
}

bool WaitWritable(int fd, int ms) {
  pollfd poll = {fd, POLLOUT, 0};
  return ::poll(&poll, 1, ms) > 0;
}

LineReader::LineReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;
LineReader::~LineReader() = default;

Result<LineReader> LineReader::Open(const std::string& path) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec))
    return InvalidArgument("'" + path + "' is a folder, not a file");
  auto state = std::make_unique<State>();
  state->path = path;
  errno = 0;
  state->file = path == "-" ? gzdopen(::dup(STDIN_FILENO), "rb") : gzopen(path.c_str(), "rb");
  if (state->file == nullptr) return SystemError(path, "open");
  return LineReader(std::move(state));
}

bool LineReader::Next(std::string* line) {
  line->clear();
  bool any = false;
  while (state_->begin < state_->end || state_->Fill()) {
    any = true;
    const char* start = state_->buffer.data() + state_->begin;
    const size_t left = state_->end - state_->begin;
    const auto* newline = static_cast<const char*>(std::memchr(start, '\n', left));
    const size_t taken = newline != nullptr ? static_cast<size_t>(newline - start) : left;
    line->append(start, taken);
    state_->begin += taken + (newline != nullptr ? 1 : 0);
    if (newline != nullptr) break;
  }
  if (!any || !state_->status.ok()) return false;
  ++state_->line_number;
  if (!line->empty() && line->back() == '\r') line->pop_back();
  return true;
}

int64_t LineReader::line_number() const { return state_->line_number; }
const Status& LineReader::status() const { return state_->status; }

}  // namespace rerankd
