// YAML text -> a flat list of (path, value): the only place that knows the YAML library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace rerankd {

// A scalar or a list of scalars, still as text.
struct ConfigValue {
  std::vector<std::string> items;  // one for a scalar
  bool is_list = false;
  std::string where;  // "file.yaml:12", "--set", "environment RERANKD_X": for messages

  const std::string& scalar() const { return items.front(); }
};

struct ConfigEntry {
  std::string path;  // "batching.enabled", "model_pool.instances[0].name"
  ConfigValue value;
};

// In document order. `name` stands in messages. Nulls are left out. kInvalidArgument, with the line: not
// YAML, not a map, a key that is given twice, lists that mix maps and scalars.
Result<std::vector<ConfigEntry>> ParseYamlTree(const std::string& text, const std::string& name);

// The right side of key=value: a YAML scalar or flow list ("[1, 2]").
Result<ConfigValue> ParseConfigValue(const std::string& text, const std::string& where);

// `text` as a YAML scalar, quoted when it would otherwise read as something else.
std::string YamlQuote(std::string_view text);

}  // namespace rerankd
