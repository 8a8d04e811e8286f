// The layers of a configuration, key by key and still as text, before they become Settings.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/yaml_tree.h"

namespace rerankd {

// A key taken apart: "model_pool.instances[1].device" is field "device" of instance 1.
struct KeyScope {
  static constexpr int kGeneral = -2;  // not of an instance; `field` is the whole key
  static constexpr int kModel = -1;    // `model.…`: inherited by every instance
  int instance = kGeneral;
  std::string field;

  static KeyScope Of(const std::string& path);
  std::string canonical() const;  // as rows of the table spell it: "model.device"
  std::string path() const;
};

class Draft {
 public:
  enum class Layer { kFile, kOverride };

  // Adds the entries of one layer over the earlier ones. Unknown keys: kInvalidArgument with a hint, or a
  // warning. In a file an `instances` list replaces the earlier list; an override of `model.x` reaches
  // every instance.
  Status Add(const std::vector<ConfigEntry>& entries, Layer layer, bool allow_unknown);

  // In the order in which keys were last set.
  const std::vector<ConfigEntry>& entries() const { return entries_; }
  std::vector<std::string>& warnings() { return warnings_; }

  const ConfigValue* Find(const std::string& path) const;
  int instances() const;  // 0 = no list of instances
  // Where a `defaults:` list names the model_pool group of the reference system; empty: nowhere.
  const std::string& composed_at() const { return composed_at_; }
  void Set(const std::string& path, ConfigValue value);

 private:
  Status Translate(std::vector<ConfigEntry> entries, bool allow_unknown, std::vector<ConfigEntry>* known);
  Status Unknown(const ConfigEntry& entry, bool allow_unknown);
  void WarnInert(const ConfigEntry& entry, const std::string& canonical);
  Status PrepareForFile(std::vector<ConfigEntry>* entries);
  Status PrepareForOverride(const std::vector<ConfigEntry>& entries);
  void ErasePrecisionOf(const std::vector<ConfigEntry>& entries, Layer layer);
  template <typename Predicate>
  void EraseIf(Predicate predicate);

  std::vector<ConfigEntry> entries_;
  std::vector<std::string> warnings_;
  std::string composed_at_;
};

}  // namespace rerankd
