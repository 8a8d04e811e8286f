#include "hub/model_directory.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include "base/file.h"
#include "base/text.h"
#include "hub/cache.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 96;  // the hub's own limit for ORG and NAME
constexpr size_t kMaxRevisionBytes = 255;
constexpr size_t kCommitDigits = 40;

bool IsFolder(const fs::path& path) {
  std::error_code ec;
  return fs::is_directory(path, ec);
}

bool HasConfig(const fs::path& folder) {
  std::error_code ec;
  return fs::is_regular_file(folder / "config.json", ec);
}

// The value of an environment variable; empty if unset.
std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here calls setenv
  return value != nullptr ? value : "";
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

// Letters, digits, '-', '_', '.'; no "..", nothing that could leave a folder or stand for another name in the
// cache, whose folders are called models--ORG--NAME.
bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] != '.' && name[0] != '-' &&
         name.find("..") == std::string_view::npos && name.find("--") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(), IsNameCharacter);
}

// Like names, but slashes are allowed: "refs/pr/1".
bool IsRevision(std::string_view revision) {
  const auto parts = Split(revision, '/');
  return revision.size() <= kMaxRevisionBytes &&
         std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
           return !part.empty() && part[0] != '.' && part.find("..") == std::string_view::npos &&
                  std::all_of(part.begin(), part.end(), IsNameCharacter);
         });
}

bool IsCommit(std::string_view text) {
  return text.size() == kCommitDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// The cache keeps a branch's commit in refs/<branch>; nothing if it was never fetched.
std::optional<std::string> CommitOf(const fs::path& repository, const std::string& revision) {
  if (IsCommit(revision)) return revision;
  Result<std::string> text = ReadFile((repository / "refs" / revision).string());
  if (!text.ok()) return std::nullopt;
  std::string commit = *text;
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  return IsCommit(commit) ? std::optional(commit) : std::nullopt;
}

Result<std::string> ResolveFolder(const fs::path& folder) {
  if (HasConfig(folder)) return folder.string();
  return NotFound("the folder '" + folder.string() +
                  "' is no model: it has no config.json (a Hugging Face model folder has config.json, "
                  "model.safetensors and tokenizer.json or vocab.txt)");
}

Result<std::string> ResolveHubModel(const HubModel& model, const std::string& cache) {
  std::string folder_name = "models--" + model.id;
  folder_name.replace(folder_name.find('/'), 1, "--");
  const fs::path repository = fs::path(cache) / folder_name;
  const auto commit = cache.empty() ? std::nullopt : CommitOf(repository, model.revision);
  if (commit && hub::IsWhole(repository / "snapshots" / *commit))
    return (repository / "snapshots" / *commit).string();
  const std::string where =
      cache.empty() ? "there is no Hugging Face cache (HF_HUB_CACHE, HF_HOME and HOME are "
                      "unset)"
                    : "it is not, or not wholly, in the Hugging Face cache '" + repository.string() + "'";
  return NotFound("model '" + model.id + "' at revision '" + model.revision + "': " + where +
                  ", and there is no such folder; put its files into a folder and pass the folder");
}

std::vector<std::string> BundledNames(const std::vector<std::string>& places) {
  std::vector<std::string> names;
  for (const std::string& place : places) {
    std::error_code ec;
    for (fs::directory_iterator it(place, ec), end; !ec && it != end; it.increment(ec)) {
      if (HasConfig(it->path())) names.push_back(it->path().filename().string());
    }
  }
  return names;
}

Result<std::string> ResolveBundled(const std::string& name, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    if (HasConfig(fs::path(place) / name)) return (fs::path(place) / name).string();
  }
  if (IsFolder(name)) return ResolveFolder(name);
  return NotFound("no model '" + name + "'" + Hint(name, BundledNames(places)) +
                  ": there is no such folder, and no bundled model of that name in " +
                  (places.empty() ? "any place" : Join(places, ", ")) +
                  "; set RERANKD_MODELS_DIR to the folder that holds '" + name +
                  "', or pass the folder of a model");
}

// <exe>/../share/rerankd/models for an installed program; models/ beside it or above it in a source tree.
void AddPlacesAround(const fs::path& exe_folder, std::vector<std::string>* places) {
  places->push_back((exe_folder.parent_path() / "share" / "rerankd" / "models").string());
  for (fs::path folder = exe_folder;; folder = folder.parent_path()) {
    if (IsFolder(folder / "models")) places->push_back((folder / "models").string());
    if (folder == folder.parent_path()) break;
  }
}

std::string HubCache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string cache = Environment(name); !cache.empty()) return cache;
  }
  if (const std::string home = Environment("HF_HOME"); !home.empty())
    return (fs::path(home) / "hub").string();
  std::string cache_home = Environment("XDG_CACHE_HOME");
  if (const std::string home = Environment("HOME"); cache_home.empty() && !home.empty())
    cache_home = (fs::path(home) / ".cache").string();
  return cache_home.empty() ? "" : (fs::path(cache_home) / "huggingface" / "hub").string();
}

}  // namespace

ModelPlaces ModelPlaces::FromEnvironment() {
  ModelPlaces places;
  if (const std::string folder = Environment("RERANKD_MODELS_DIR"); !folder.empty())
    places.bundled.push_back(folder);
  std::error_code ec;
  const fs::path exe = fs::read_symlink("/proc/self/exe", ec);
  if (!ec) AddPlacesAround(exe.parent_path(), &places.bundled);
  places.hub_cache = HubCache();
  return places;
}

Result<HubModel> ParseHubModel(std::string_view model) {
  const size_t at = model.find('@');
  const std::string_view id = model.substr(0, at);
  const std::string_view revision = at == std::string_view::npos ? "main" : model.substr(at + 1);
  const auto parts = Split(id, '/');
  if (parts.size() != 2 || !IsPlainName(parts[0]) || !IsPlainName(parts[1]))
    return InvalidArgument(
        "'" + std::string(model) +
        "' is neither a folder nor a Hugging Face id ORG/NAME[@REVISION] (letters, digits, "
        "'-', '_' and '.')");
  if (!IsRevision(revision))
    return InvalidArgument("'" + std::string(revision) + "' in '" + std::string(model) +
                           "' is no revision: expected a branch, tag or commit");
  return HubModel{std::string(id), std::string(revision)};
}

Result<std::string> ResolveModelDirectory(const std::string& model, const ModelPlaces& places) {
  if (model.empty() || model.find('\0') != std::string::npos)
    return InvalidArgument(
        "the model's name is empty or holds a NUL; pass a folder, a bundled model's name or "
        "a Hugging Face id ORG/NAME");
  if (IsPlainName(model)) return ResolveBundled(model, places.bundled);
  if (IsFolder(model)) return ResolveFolder(model);
  const bool path = model[0] == '/' || model[0] == '.' || model[0] == '~' || model.back() == '/';
  if (path) return NotFound("there is no model folder '" + model + "'");
  RERANKD_ASSIGN_OR_RETURN(const HubModel hub, ParseHubModel(model));
  return ResolveHubModel(hub, places.hub_cache);
}

std::vector<std::pair<std::string, std::string>> ListModels(const ModelPlaces& places) {
  std::map<std::string, std::string> bundled, cached;
  for (const std::string& place : places.bundled)
    for (const std::string& name : BundledNames({place}))
      bundled.emplace(name, (fs::path(place) / name).string());
  constexpr std::string_view kPrefix = "models--";
  std::error_code ec;
  for (fs::directory_iterator it(places.hub_cache, ec), end; !ec && it != end; it.increment(ec)) {
    std::string name = it->path().filename().string();
    const auto commit = CommitOf(it->path(), "main");
    if (!name.starts_with(kPrefix) || !commit || !hub::IsWhole(it->path() / "snapshots" / *commit)) continue;
    name.erase(0, kPrefix.size());
    if (const size_t separator = name.find("--"); separator != std::string::npos)
      name.replace(separator, 2, "/");
    cached.emplace(name, (it->path() / "snapshots" / *commit).string());
  }
  std::vector<std::pair<std::string, std::string>> models(bundled.begin(), bundled.end());
  models.insert(models.end(), cached.begin(), cached.end());
  return models;
}

}  // namespace rerankd
