// Optional backends: which exist, which shared object holds each, and its plugin, loaded on demand.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/plugin.h"
#include "base/status.h"

namespace rerankd {

struct PluginBackend {
  std::string_view name;    // value of model.backend
  std::string_view plugin;  // in rerankd_<plugin>.so
  std::string_view device;  // what it runs on where model.device is "cpu", the default
  std::string_view get;     // how to get the plugin
};

std::span<const PluginBackend> PluginBackends();
const PluginBackend* FindPluginBackend(std::string_view name);

// The folders that are searched, in order: $RERANKD_PLUGIN_PATH (colons between them), plugins/ beside the
// binary,
// ../lib/rerankd/plugins of an installation.
std::vector<std::string> PluginFolders();

// The plugin "onnx" from rerankd_onnx.so in the first folder that has it; it stays loaded.
// kNotFound: no such file. kFailedPrecondition: it is there but cannot be loaded (the loader's words),
// belongs to another build, or throws when it starts.
Result<Plugin*> LoadPlugin(std::string_view plugin);

}  // namespace rerankd
