// Any bytes as a configuration file, and as overrides, a line each: refused with a message, or settings that
// survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include "config/load.h"
#include "config/yaml_tree.h"

namespace rerankd {
namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

// The overrides that a file of these entries would be.
SettingsSource SourceOf(const std::vector<ConfigEntry>& entries) {
  SettingsSource source;
  for (const ConfigEntry& entry : entries) {
    std::string value;
    for (const std::string& item : entry.value.items) value += (value.empty() ? "" : ", ") + YamlQuote(item);
    source.overrides.push_back(entry.path + "=" + (entry.value.is_list ? "[" + value + "]" : value));
  }
  return source;
}

void Run(const std::string& text) {
  SettingsSource source;
  if (const auto entries = ParseYamlTree(text, "fuzz"); entries.ok()) source = SourceOf(*entries);
  source.allow_unknown_keys = true;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.find('=') != std::string::npos) source.overrides.push_back(line);
  const auto plan = LoadExperiment(source);
  if (plan.ok()) Require(!plan->variants.empty());
  const auto loaded = LoadSettings(source);
  if (!loaded.ok()) return Require(!loaded.status().message().empty());
  const std::string dumped = DumpSettings(loaded->settings);
  const auto written = ParseYamlTree(dumped, "dump");
  Require(written.ok());
  const auto again = LoadSettings(SourceOf(*written));
  Require(again.ok() && DumpSettings(again->settings) == dumped);
}

}  // namespace
}  // namespace rerankd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  rerankd::Run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
