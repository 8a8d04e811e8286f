// How optional backends reach the engine: a shared object with one C entry point, loaded on demand
// (engine/plugin_loader.h). Its types are this project's own, so both sides must come from one build: the
// entry carries the version of this header and of what it includes, and the compiler.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "core/backend.h"

namespace rerankd {

// Raised with every change of this header, core/backend.h, core/encoding.h, core/cancel.h or base/status.h.
inline constexpr int32_t kPluginAbi = 3;
inline constexpr const char* kPluginToolchain = __VERSION__;

struct PluginRequest {
  std::string backend;       // value of model.backend
  std::string device;        // as the engine calls it: "cpu", "cuda:0", "mps", "GPU.1"
  std::string precision;     // value of model.precision
  std::string compile_mode;  // backend "compiled": empty = its default
  int group_size = 64;       // inputs of a linear layer that share a scale, where a backend quantises so
  std::string directory;     // of the model
  int workers = 1;           // backends wanted; a device that serves one stream may give fewer
};

struct PluginDescription {
  std::string details;               // engine and version
  std::vector<std::string> devices;  // that work here
  std::string missing;               // exact reason why nothing works here; empty where something does
  std::string get;                   // how to get what is missing: a command or a sentence
  bool broken = false;               // `missing` is a fault of something that is here, not an absence
};

// Lives as long as the process. One thread at a time.
class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual PluginDescription Describe(const std::string& backend) = 0;
  // Not warmed up. kFailedPrecondition: engine, device, precision or file that is not here; what an engine
  // throws is kInternal, a lack of memory kResourceExhausted.
  virtual Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) = 0;
};

struct PluginEntry {
  int32_t abi;
  const char* toolchain;
  Plugin& (*plugin)();
};

inline constexpr const char* kPluginSymbol = "rerankd_plugin_entry";

}  // namespace rerankd

// Defines the entry point of a shared object whose Plugin is of `type`.
#define RERANKD_PLUGIN(type)                                                                               \
  extern "C" __attribute__((visibility("default"))) const ::rerankd::PluginEntry* rerankd_plugin_entry() { \
    static const ::rerankd::PluginEntry entry = {::rerankd::kPluginAbi, ::rerankd::kPluginToolchain,       \
                                                 []() -> ::rerankd::Plugin& {                              \
                                                   static type* const plugin = new type;                   \
                                                   return *plugin;                                         \
                                                 }};                                                       \
    return &entry;                                                                                         \
  }
