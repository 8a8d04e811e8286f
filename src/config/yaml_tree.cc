#include "config/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>

namespace rerankd {
namespace {

class Flattener {
 public:
  explicit Flattener(std::string name) : name_(std::move(name)) {}

  // Nodes below each other; no key of ours lies deeper than 5. An alias within its own anchor has no end.
  static constexpr int kDeepest = 32;
  // Aliases of aliases multiply.
  static constexpr size_t kMostEntries = 100'000;

  Status Walk(const YAML::Node& node, const std::string& path, int depth = 0) {
    if (depth > kDeepest)
      return InvalidArgument(fmt::format("{}: more than {} levels below each other", Where(node), kDeepest));
    if (entries_.size() > kMostEntries)
      return InvalidArgument(fmt::format("{}: more than {} values", Where(node), kMostEntries));
    if (node.IsMap()) return WalkMap(node, path, depth);
    if (node.IsSequence()) return WalkList(node, path, depth);
    if (node.IsScalar()) entries_.push_back({path, {{node.Scalar()}, false, Where(node)}});
    return {};
  }
  std::vector<ConfigEntry> Take() { return std::move(entries_); }

 private:
  std::string Where(const YAML::Node& node) const {
    return node.Mark().line < 0 ? name_ : fmt::format("{}:{}", name_, node.Mark().line + 1);
  }

  Status WalkMap(const YAML::Node& node, const std::string& path, int depth) {
    std::set<std::string> seen;
    for (const auto& item : node) {
      if (!item.first.IsScalar())
        return InvalidArgument(fmt::format("{}: a key must be a plain word", Where(item.first)));
      const std::string& key = item.first.Scalar();
      if (!seen.insert(key).second)
        return InvalidArgument(fmt::format("{}: key '{}' is given twice; keep one", Where(item.first), key));
      RERANKD_RETURN_IF_ERROR(Walk(item.second, path.empty() ? key : path + "." + key, depth + 1));
    }
    return {};
  }

  // The keys of its maps stand for "key: value": they are names of groups, "model_pool" or "override
  // /model_pool".
  Status WalkDefaults(const YAML::Node& node) {
    ConfigValue value{{}, true, Where(node)};
    for (const YAML::Node& item : node) {
      if (item.IsScalar()) value.items.push_back(item.Scalar());
      if (!item.IsMap()) continue;
      for (const auto& group : item)
        if (group.first.IsScalar()) value.items.push_back(group.first.Scalar());
    }
    entries_.push_back({"defaults", std::move(value)});
    return {};
  }

  Status WalkList(const YAML::Node& node, const std::string& path, int depth) {
    size_t scalars = 0;
    for (const YAML::Node& item : node) scalars += item.IsScalar() ? 1 : 0;
    if (scalars == node.size()) {
      ConfigValue value{{}, true, Where(node)};
      for (const YAML::Node& item : node) value.items.push_back(item.Scalar());
      entries_.push_back({path, std::move(value)});
      return {};
    }
    // "defaults:" lists of composed files mix words and maps; their content names files, not settings.
    if (path == "defaults") return WalkDefaults(node);
    if (scalars > 0)
      return InvalidArgument(fmt::format("{}: list '{}' mixes values and maps", Where(node), path));
    size_t index = 0;
    for (const YAML::Node& item : node) {
      if (!item.IsMap() || item.size() == 0)
        return InvalidArgument(
            fmt::format("{}: entry {} of '{}' must be a map with keys", Where(item), index, path));
      RERANKD_RETURN_IF_ERROR(Walk(item, fmt::format("{}[{}]", path, index++), depth + 1));
    }
    return {};
  }

  const std::string name_;
  std::vector<ConfigEntry> entries_;
};

}  // namespace

Result<std::vector<ConfigEntry>> ParseYamlTree(const std::string& text, const std::string& name) {
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return std::vector<ConfigEntry>{};
    if (!root.IsMap())
      return InvalidArgument(fmt::format("{}: expected 'key: value' lines at the top level", name));
    Flattener flattener(name);
    RERANKD_RETURN_IF_ERROR(flattener.Walk(root, ""));
    return flattener.Take();
  } catch (const YAML::Exception& e) {
    return InvalidArgument(fmt::format("{}:{}: not valid YAML: {}", name, e.mark.line + 1, e.msg));
  }
}

Result<ConfigValue> ParseConfigValue(const std::string& text, const std::string& where) {
  try {
    const YAML::Node node = YAML::Load(text);
    if (node.IsNull()) return ConfigValue{{""}, false, where};
    if (node.IsScalar()) return ConfigValue{{node.Scalar()}, false, where};
    if (!node.IsSequence())
      return InvalidArgument(fmt::format("{}: '{}' must be a value or a list", where, text));
    ConfigValue value{{}, true, where};
    for (const YAML::Node& item : node) {
      if (!item.IsScalar())
        return InvalidArgument(fmt::format("{}: list '{}' may hold plain values only", where, text));
      value.items.push_back(item.Scalar());
    }
    return value;
  } catch (const YAML::Exception& e) {
    return InvalidArgument(fmt::format("{}: '{}' is not a YAML value: {}", where, text, e.msg));
  }
}

std::string YamlQuote(std::string_view text) {
  YAML::Emitter emitter;
  emitter << YAML::DoubleQuoted << std::string(text);
  return emitter.c_str();
}

}  // namespace rerankd
