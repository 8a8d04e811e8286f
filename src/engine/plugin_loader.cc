#include "engine/plugin_loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>

#include "base/text.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMake = "make backends";

constexpr PluginBackend kBackends[] = {
    {"pytorch", "torch", "cpu", kMake}, {"mps", "torch", "mps", kMake},
    {"cuda", "torch", "cuda", kMake},   {"compiled", "torch", "cpu", kMake},
    {"onnx", "onnx", "cpu", kMake},     {"tensorrt", "onnx", "cuda", kMake},
    {"mlx", "mlx", "cpu", kMake},       {"openvino", "openvino", "cpu", kMake},
};

// dlopen gives the same handle for the same file, so nothing needs to be remembered. RTLD_LOCAL: the symbols
// of two engines never meet.
Result<Plugin*> Open(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return FailedPrecondition("plugin " + path + " cannot be loaded: " + dlerror());
  const auto function = reinterpret_cast<const PluginEntry* (*)()>(dlsym(library, kPluginSymbol));
  if (function == nullptr)
    return FailedPrecondition(path + " has no " + std::string(kPluginSymbol) + ": not a plugin of rerankd");
  const PluginEntry& entry = *function();
  if (entry.abi != kPluginAbi)
    return FailedPrecondition("plugin " + path + " has interface version " + std::to_string(entry.abi) +
                              ", this rerankd has " + std::to_string(kPluginAbi) + ": build both together");
  if (std::strcmp(entry.toolchain, kPluginToolchain) != 0)
    return FailedPrecondition("plugin " + path + " was compiled by " + entry.toolchain +
                              ", this rerankd by " + kPluginToolchain + ": build both together");
  try {
    return &entry.plugin();
  } catch (const std::exception& error) {
    return FailedPrecondition("plugin " + path + " cannot start: " + error.what());
  }
}

}  // namespace

std::span<const PluginBackend> PluginBackends() { return kBackends; }

const PluginBackend* FindPluginBackend(std::string_view name) {
  const auto* found = std::find_if(std::begin(kBackends), std::end(kBackends),
                                   [&](const PluginBackend& backend) { return backend.name == name; });
  return found == std::end(kBackends) ? nullptr : found;
}

std::vector<std::string> PluginFolders() {
  std::vector<std::string> folders;
  if (const char* path = std::getenv("RERANKD_PLUGIN_PATH"); path != nullptr && *path != '\0') {
    for (const std::string_view folder : Split(path, ':')) folders.emplace_back(folder);
  }
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (!error) {
    folders.push_back((binary / "plugins").string());
    folders.push_back((binary.parent_path() / "lib/rerankd/plugins").string());
  }
  return folders;
}

Result<Plugin*> LoadPlugin(std::string_view plugin) {
  const std::string file = "rerankd_" + std::string(plugin) + ".so";
  const std::vector<std::string> folders = PluginFolders();
  for (const std::string& folder : folders) {
    const std::string path = (fs::path(folder) / file).string();
    if (fs::exists(path)) return Open(path);
  }
  return NotFound("no " + file + " in " + Join(folders, ", "));
}

}  // namespace rerankd
