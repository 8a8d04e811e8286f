#include "hub/cache.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"

namespace rerankd::hub {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSha1Digits = 40;
constexpr size_t kSha256Digits = 64;

Status MakeFolder(const fs::path& folder) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) return Internal("cannot create the folder '" + folder.string() + "': " + ec.message());
  return {};
}

bool IsHex(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string FolderName(std::string id) {
  for (size_t slash = 0; (slash = id.find('/')) != std::string::npos;) id.replace(slash, 1, "--");
  return "models--" + id;
}

// Hex digest of `prefix` followed by the file.
Result<std::string> Digest(const fs::path& path, const EVP_MD* algorithm, const std::string& prefix) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound("cannot open '" + path.string() + "'");
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), algorithm, nullptr);
  EVP_DigestUpdate(context.get(), prefix.data(), prefix.size());
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0)
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(in.gcount()));
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), bytes, &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[bytes[i] >> 4];
    hex += kDigits[bytes[i] & 15];
  }
  return hex;
}

}  // namespace

RepositoryCache::RepositoryCache(const fs::path& root, const std::string& id)
    : folder_(root / FolderName(id)), locks_(root / ".locks" / FolderName(id)) {}

Status RepositoryCache::Link(const std::string& commit, const std::string& file,
                             const std::string& etag) const {
  const fs::path link = Snapshot(commit) / file;
  RERANKD_RETURN_IF_ERROR(MakeFolder(link.parent_path()));
  const fs::path target = fs::relative(Blob(etag), link.parent_path());
  std::error_code ec;
  if (fs::is_symlink(link, ec) && fs::read_symlink(link, ec) == target) return {};
  // A new link is renamed over the old one: other processes see one or the other.
  const fs::path fresh = link.string() + ".tmp" + std::to_string(::getpid());
  fs::create_symlink(target, fresh, ec);
  if (!ec) fs::rename(fresh, link, ec);
  if (ec) return Internal("cannot link '" + link.string() + "': " + ec.message());
  return {};
}

Status RepositoryCache::WriteRef(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return {};
  const fs::path path = folder_ / "refs" / revision;
  RERANKD_RETURN_IF_ERROR(MakeFolder(path.parent_path()));
  return WriteFileAtomically(path.string(), commit);
}

Result<std::vector<std::string>> ShardsOf(const fs::path& index) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(index.string()));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return FailedPrecondition("'" + index.string() + "' has no 'weight_map'");
  std::vector<std::string> shards;
  for (const auto& [tensor, shard] : json["weight_map"].items())
    if (shard.is_string()) shards.push_back(shard.get<std::string>());
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  return shards;
}

bool IsWhole(const fs::path& snapshot) {
  const auto has = [&](std::string_view file) {
    std::error_code ec;
    return fs::is_regular_file(snapshot / file, ec);
  };
  if (!has("config.json") || (!has("tokenizer.json") && !has("vocab.txt"))) return false;
  if (has(kWeights)) return true;
  const auto shards = ShardsOf(snapshot / kWeightsIndex);
  return shards.ok() && std::all_of(shards->begin(), shards->end(), has);
}

Result<FileLock> FileLock::Acquire(const fs::path& path) {
  RERANKD_RETURN_IF_ERROR(MakeFolder(path.parent_path()));
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Internal("cannot create the lock '" + path.string() + "': " + std::strerror(errno));
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    Status status = Internal("cannot lock '" + path.string() + "': " + std::strerror(errno));
    ::close(fd);
    return status;
  }
  return FileLock(fd);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);  // releases the lock
}

Status VerifyChecksum(const fs::path& path, const std::string& etag) {
  const bool sha256 = etag.size() == kSha256Digits && IsHex(etag);
  const bool sha1 = etag.size() == kSha1Digits && IsHex(etag);
  if (!sha256 && !sha1) return {};
  std::string prefix;
  if (sha1) {  // git hashes "blob <size>\0<content>"
    std::error_code ec;
    prefix = "blob " + std::to_string(fs::file_size(path, ec));
    prefix.push_back('\0');
  }
  RERANKD_ASSIGN_OR_RETURN(const std::string digest,
                           Digest(path, sha256 ? EVP_sha256() : EVP_sha1(), prefix));
  if (digest == etag) return {};
  return Internal("wrong checksum: got " + digest + ", expected " + etag);
}

}  // namespace rerankd::hub
