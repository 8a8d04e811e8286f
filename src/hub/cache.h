// The cache of the Python library huggingface_hub, byte for byte: what either wrote, the other uses.
//   models--ORG--NAME/blobs/<etag>                 the files, named by checksum
//   models--ORG--NAME/snapshots/<commit>/<file>    relative links to them
//   models--ORG--NAME/refs/<revision>              the commit that a branch or tag stood for
//   .locks/models--ORG--NAME/<etag>.lock           held (flock) while a blob is fetched
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace rerankd::hub {

inline constexpr std::string_view kWeights = "model.safetensors";
inline constexpr std::string_view kWeightsIndex = "model.safetensors.index.json";

// Where files of one repository live. Paths only, nothing is created.
class RepositoryCache {
 public:
  RepositoryCache(const std::filesystem::path& root, const std::string& id);

  std::filesystem::path Blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  std::filesystem::path Snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }
  std::filesystem::path Lock(const std::string& etag) const { return locks_ / (etag + ".lock"); }

  // snapshots/<commit>/<file> -> blobs/<etag>, replacing what is there. Creates folders.
  Status Link(const std::string& commit, const std::string& file, const std::string& etag) const;
  // refs/<revision> = commit; nothing to do where the revision is the commit.
  Status WriteRef(const std::string& revision, const std::string& commit) const;

 private:
  std::filesystem::path folder_, locks_;
};

// The files that a weights index names, sorted, each once. kFailedPrecondition: it is no such index.
Result<std::vector<std::string>> ShardsOf(const std::filesystem::path& index);

// Does a snapshot hold all that a cross-encoder needs: config, a tokenizer, every file of the weights?
// Another program may have cached a part of the repository only, and a pull may have been killed.
bool IsWhole(const std::filesystem::path& snapshot);

// An exclusive flock on a file, created if need be; waits for other processes. Released on destruction.
class FileLock {
 public:
  static Result<FileLock> Acquire(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

// Does the file hold what its etag promises? A 64-digit etag is the SHA-256 of the content (large files), a
// 40-digit one the git blob SHA-1; any other etag promises nothing. kInternal on a mismatch, naming both
// checksums.
Status VerifyChecksum(const std::filesystem::path& path, const std::string& etag);

}  // namespace rerankd::hub
