// The one table of settings: each key with its field, bounds, flag and help.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "config/yaml_tree.h"

namespace rerankd {

using SettingField = std::variant<int*, int64_t*, double*, bool*, std::string*, std::vector<int>*,
                                  std::vector<std::string>*, std::optional<double>*>;

struct SettingRow {
  std::string key;  // YAML path; rows of an instance start with "model."
  SettingField (*field)(Settings&, InstanceSettings&);
  double min = 0, max = 0;           // numbers only, inclusive
  std::vector<std::string> choices;  // strings only; empty = any text
  std::string flag;                  // "--http-port"; empty = only --set KEY=VALUE
  std::string help;

  bool of_instance() const { return key.starts_with("model."); }
  std::string environment_name() const;  // "RERANKD_BATCHING__ENABLED"; empty for keys without a section
  std::string type_name() const;
  std::string range_text() const;  // "1 .. 65536", "true or false", "a, b or c"
  std::string default_text() const;
};

const std::vector<SettingRow>& SettingTable();
const SettingRow* FindSetting(std::string_view key);
bool HoldsList(const SettingRow& row);

// Parses `value` into the row's field. kInvalidArgument names place, key, value and bounds.
Status ParseSetting(const SettingRow& row, const ConfigValue& value, SettingField field);

// As a YAML value; parsing it gives the same field.
std::string FormatSetting(SettingField field);

}  // namespace rerankd
