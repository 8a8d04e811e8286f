// A plugin whose entry does not fit this build: the loader must refuse it before it calls anything.
#include "backends/plugin.h"

extern "C" const rerankd::PluginEntry* rerankd_plugin_entry() {
#ifdef OTHER_abi
  static const rerankd::PluginEntry entry = {rerankd::kPluginAbi + 1, rerankd::kPluginToolchain, nullptr};
#else
  static const rerankd::PluginEntry entry = {rerankd::kPluginAbi, "1.2.3 of another compiler", nullptr};
#endif
  return &entry;
}
