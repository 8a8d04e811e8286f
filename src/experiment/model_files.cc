#include "experiment/model_files.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <vector>

#include "base/file.h"
#include "hub/model_directory.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

const std::set<std::string> kFiles = {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"};

bool Matters(const fs::path& path) {
  return kFiles.contains(path.filename().string()) || path.extension() == ".safetensors";
}

std::vector<fs::path> FilesOf(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (Matters(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string HashModel(const std::string& model) {
  const auto folder = ResolveModelDirectory(model, ModelPlaces::FromEnvironment());
  if (!folder.ok()) return "";
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (const fs::path& path : FilesOf(*folder)) {
    const auto file = MappedFile::Open(path.string());
    if (!file.ok()) return "";
    const std::string head = fmt::format("{} {}\n", path.filename().string(), file->bytes().size());
    EVP_DigestUpdate(context.get(), head.data(), head.size());
    EVP_DigestUpdate(context.get(), file->bytes().data(), file->bytes().size());
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace rerankd::experiment
