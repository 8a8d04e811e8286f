// Files: whole, mapped, and line by line (plain or gzip). Errors name the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd {

Result<std::string> ReadFile(const std::string& path);

// Writes through a temporary file in the same folder and renames: readers see the old content or the new,
// never half.
Status WriteFileAtomically(const std::string& path, std::string_view content);

// Files and sockets that this process may have open at once.
int64_t OpenFileLimit();
// Raises it as far as the system allows, and returns it.
int64_t RaiseOpenFileLimit();

// Whether a write to `fd` of up to 4,096 bytes (PIPE_BUF) would not block, now or within `ms`.
bool WaitWritable(int fd, int ms);

// A read-only private mapping, unmapped on destruction. Movable.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Gives back the memory that reading `part` took, if it lies in this file; reading it again is slower,
  // once.
  void Release(std::span<const std::byte> part) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads lines of a plain or gzip file, "-" = standard input. Memory = the longest line. Not thread-safe.
class LineReader {
 public:
  static Result<LineReader> Open(const std::string& path);
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;
  ~LineReader();

  // False at the end of the file or on an error (then status() tells). The end-of-line, "\r" included, is
  // removed.
  bool Next(std::string* line);
  int64_t line_number() const;  // of the line last returned, from 1
  const Status& status() const;

 private:
  struct State;
  explicit LineReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rerankd
