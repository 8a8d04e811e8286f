#include "config/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "config/precision.h"
#include "config/reference_keys.h"
#include "config/setting_table.h"

namespace rerankd {
namespace {

constexpr std::string_view kInstances = "model_pool.instances[";
constexpr std::string_view kModels = "models[";
constexpr std::string_view kModelPrefix = "model.";

std::string ReplacePrefix(const std::string& text, std::string_view from, std::string_view to) {
  return text.starts_with(from) ? std::string(to) + text.substr(from.size()) : text;
}

std::vector<std::string> KnownKeys() {
  std::vector<std::string> keys;
  for (const SettingRow& row : SettingTable()) keys.push_back(row.key);
  for (const ReferenceKey& key : ReferenceKeys()) keys.emplace_back(key.key);
  return keys;
}

// "experiment" when keys like "experiment.dataset" exist.
bool IsSection(const std::string& path) {
  for (const std::string& key : KnownKeys())
    if (key.starts_with(path + ".")) return true;
  return path == "model_pool" || path == "model_pool.instances" || path == "models";
}

bool IsFalse(const ConfigValue& value) {
  return !value.is_list && (value.scalar() == "false" || value.scalar() == "no" || value.scalar() == "off");
}

// An entry of a defaults list: "model_pool", "/model_pool", "override /model_pool".
bool NamesModelPool(const std::string& group) { return group.ends_with("model_pool"); }

}  // namespace

KeyScope KeyScope::Of(const std::string& path) {
  if (path.starts_with(kModelPrefix)) return {kModel, path.substr(kModelPrefix.size())};
  if (!path.starts_with(kInstances)) return {kGeneral, path};
  int index = 0;
  const char* begin = path.data() + kInstances.size();
  const char* end = path.data() + path.size();
  const auto [stop, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || index < 0 || end - stop < 3 || stop[0] != ']' || stop[1] != '.')
    return {kGeneral, path};
  return {index, std::string(stop + 2, end)};
}

std::string KeyScope::canonical() const { return instance == kGeneral ? field : "model." + field; }

std::string KeyScope::path() const {
  return instance < 0 ? canonical() : fmt::format("{}{}].{}", kInstances, instance, field);
}

const ConfigValue* Draft::Find(const std::string& path) const {
  for (const ConfigEntry& entry : entries_)
    if (entry.path == path) return &entry.value;
  return nullptr;
}

int Draft::instances() const {
  int count = 0;
  for (const ConfigEntry& entry : entries_) count = std::max(count, KeyScope::Of(entry.path).instance + 1);
  return count;
}

template <typename Predicate>
void Draft::EraseIf(Predicate predicate) {
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), predicate), entries_.end());
}

void Draft::Set(const std::string& path, ConfigValue value) {
  EraseIf([&](const ConfigEntry& entry) { return entry.path == path; });
  entries_.push_back({path, std::move(value)});
}

Status Draft::Unknown(const ConfigEntry& entry, bool allow_unknown) {
  if (IsSection(entry.path))
    return InvalidArgument(fmt::format("{}: '{}' is a section: its keys stand indented below it",
                                       entry.value.where, entry.path));
  const std::string canonical = KeyScope::Of(entry.path).canonical();
  const std::string message =
      fmt::format("{}: unknown key '{}'{}", entry.value.where, entry.path, Hint(canonical, KnownKeys()));
  if (!allow_unknown) return InvalidArgument(message + "; --allow-unknown-keys ignores it");
  warnings_.push_back(message + ": ignored");
  return {};
}

void Draft::WarnInert(const ConfigEntry& entry, const std::string& canonical) {
  const ReferenceKey& key = *FindReferenceKey(canonical);
  if (canonical == "defaults" &&
      std::any_of(entry.value.items.begin(), entry.value.items.end(), NamesModelPool))
    composed_at_ = entry.value.where;
  if (key.warn_only_if_false ? IsFalse(entry.value) : !IsFalse(entry.value))
    warnings_.push_back(fmt::format("{}: {} has no effect: {}", entry.value.where, entry.path, key.note));
}

// Brings every key to the spelling of the table, or to that of an older precision key.
Status Draft::Translate(std::vector<ConfigEntry> entries, bool allow_unknown,
                        std::vector<ConfigEntry>* known) {
  for (ConfigEntry& entry : entries) {
    entry.path = ReplacePrefix(entry.path, "benchmark.", "experiment.");
    KeyScope scope = KeyScope::Of(entry.path);
    const ReferenceKey* reference = FindReferenceKey(scope.canonical());
    if (reference == nullptr) {
      if (FindSetting(scope.canonical()) != nullptr)
        known->push_back(std::move(entry));
      else
        RERANKD_RETURN_IF_ERROR(Unknown(entry, allow_unknown));
    } else if (reference->kind == ReferenceKey::Kind::kInert) {
      WarnInert(entry, scope.canonical());
    } else {
      if (!reference->note.empty())
        warnings_.push_back(fmt::format("{}: {} is read as {}: {}", entry.value.where, entry.path,
                                        reference->target, reference->note));
      if (reference->kind == ReferenceKey::Kind::kAlias)
        scope.field = ReplacePrefix(std::string(reference->target),
                                    scope.instance == KeyScope::kGeneral ? "" : kModelPrefix, "");
      known->push_back({scope.path(), std::move(entry.value)});
    }
  }
  return {};
}

// In a file `instances` wins over `models`, and either replaces the list of the layer below.
Status Draft::PrepareForFile(std::vector<ConfigEntry>* entries) {
  const auto has = [&](std::string_view prefix) {
    return std::any_of(entries->begin(), entries->end(),
                       [&](const ConfigEntry& e) { return e.path.starts_with(prefix); });
  };
  const bool has_instances = has(kInstances);
  if (has(kModels) && has_instances) {
    warnings_.push_back("models: ignored, because model_pool.instances is given");
    std::erase_if(*entries, [](const ConfigEntry& e) { return e.path.starts_with(kModels); });
  }
  for (ConfigEntry& entry : *entries) entry.path = ReplacePrefix(entry.path, kModels, kInstances);
  if (has(kInstances)) EraseIf([](const ConfigEntry& e) { return KeyScope::Of(e.path).instance >= 0; });
  return {};
}

Status Draft::PrepareForOverride(const std::vector<ConfigEntry>& entries) {
  for (const ConfigEntry& entry : entries) {
    const KeyScope scope = KeyScope::Of(entry.path);
    if (scope.instance >= std::max(1, instances()))
      return InvalidArgument(fmt::format("{}: {}: there are only {} instances", entry.value.where, entry.path,
                                         std::max(1, instances())));
    if (scope.instance == KeyScope::kModel)
      EraseIf([&](const ConfigEntry& e) {
        const KeyScope other = KeyScope::Of(e.path);
        return other.instance >= 0 && other.field == scope.field;
      });
  }
  return {};
}

// The precision has several spellings: one that a higher layer gives replaces all those of lower layers.
void Draft::ErasePrecisionOf(const std::vector<ConfigEntry>& entries, Layer layer) {
  for (const ConfigEntry& entry : entries) {
    const KeyScope scope = KeyScope::Of(entry.path);
    if (scope.instance == KeyScope::kGeneral || !IsPrecisionField(scope.field)) continue;
    const bool everywhere = scope.instance == KeyScope::kModel && layer == Layer::kOverride;
    EraseIf([&](const ConfigEntry& e) {
      const KeyScope other = KeyScope::Of(e.path);
      const bool same = everywhere ? other.instance != KeyScope::kGeneral : other.instance == scope.instance;
      return same && IsPrecisionField(other.field);
    });
  }
}

Status Draft::Add(const std::vector<ConfigEntry>& entries, Layer layer, bool allow_unknown) {
  std::vector<ConfigEntry> mutable_entries = entries;
  if (layer == Layer::kFile) RERANKD_RETURN_IF_ERROR(PrepareForFile(&mutable_entries));
  std::vector<ConfigEntry> known;
  RERANKD_RETURN_IF_ERROR(Translate(std::move(mutable_entries), allow_unknown, &known));
  if (layer == Layer::kOverride) RERANKD_RETURN_IF_ERROR(PrepareForOverride(known));
  ErasePrecisionOf(known, layer);
  for (ConfigEntry& entry : known) Set(entry.path, std::move(entry.value));
  return {};
}

}  // namespace rerankd
