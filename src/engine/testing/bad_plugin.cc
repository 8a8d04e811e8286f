// Plugins that must not be taken for working ones; which fault this one has is a compile definition.
#include <stdexcept>

#include "backends/plugin.h"

#if defined(FAULT_abi) || defined(FAULT_toolchain) || defined(FAULT_symbol)

extern "C" int rerankd_a_symbol_that_nobody_has();

// The loader must refuse these before it calls anything.
extern "C" const rerankd::PluginEntry* rerankd_plugin_entry() {
#if defined(FAULT_abi)
  static const rerankd::PluginEntry entry = {rerankd::kPluginAbi + 1, rerankd::kPluginToolchain, nullptr};
#elif defined(FAULT_toolchain)
  static const rerankd::PluginEntry entry = {rerankd::kPluginAbi, "1.2.3 of another compiler", nullptr};
#else
  static const rerankd::PluginEntry entry = {rerankd_a_symbol_that_nobody_has(), rerankd::kPluginToolchain,
                                             nullptr};
#endif
  return &entry;
}

#else

namespace {

using namespace rerankd;

class BadPlugin final : public Plugin {
 public:
  BadPlugin() {
#ifdef FAULT_start
    throw std::runtime_error("cannot start on a Sunday");
#endif
  }

  PluginDescription Describe(const std::string&) override {
#ifdef FAULT_describe
    throw std::runtime_error("cannot describe on a Sunday");
#endif
    PluginDescription description{"engine 1.2", {"cpu"}, "", ""};
#ifdef FAULT_engine  // no fault of the plugin: its engine is not installed
    description = {"", {}, "no engine library", "make engine"};
#endif
#ifdef FAULT_library  // the engine is installed, but cannot be loaded
    description = {"", {}, "libengine.so: undefined symbol: warp", "make engine", true};
#endif
    return description;
  }

  Result<std::vector<std::unique_ptr<Backend> > > Make(const PluginRequest&) override {
#ifdef FAULT_make
    throw std::runtime_error("cannot make on a Sunday");
#endif
    return FailedPrecondition("of this nothing can be made");
  }
};

}  // namespace

RERANKD_PLUGIN(BadPlugin)

#endif
