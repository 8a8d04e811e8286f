#include "config/load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "config/draft.h"
#include "config/precision.h"
#include "config/rate.h"
#include "config/setting_table.h"
#include "config/wanted_target.h"

extern char** environ;

namespace rerankd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBaseFile = "base_config.yaml";
// Of the reference system's model_pool group, which `defaults:` lists of its files bring in.
constexpr int kComposedMaxLength = 200;
constexpr size_t kMaxVariants = 1000;
// A closed loop brings its own back-pressure: its requests wait up to the client's deadline instead of being
// refused by the server's default, which is made for people who wait.
constexpr const char* kQueueKey = "scheduler.max_queue_ms";
constexpr const char* kExperimentQueueMs = "60000";
// Pairs a second are those that were scored: a request that wraps the data set holds equal pairs.
constexpr const char* kMergeKey = "documents.merge_equal";

Status AddFile(const std::string& path, bool allow_unknown, Draft* draft) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  RERANKD_ASSIGN_OR_RETURN(const auto entries, ParseYamlTree(text, path));
  return draft->Add(entries, Draft::Layer::kFile, allow_unknown);
}

Status AddFiles(const SettingsSource& source, Draft* draft) {
  if (source.path.empty()) return {};
  const fs::path file(source.path);
  const fs::path base = file.parent_path() / kBaseFile;
  std::error_code ignored;
  if (file.filename() != kBaseFile && fs::exists(base, ignored))
    RERANKD_RETURN_IF_ERROR(AddFile(base.string(), source.allow_unknown_keys, draft));
  return AddFile(source.path, source.allow_unknown_keys, draft);
}

Status AddEnvironment(const SettingsSource& source, Draft* draft) {
  std::vector<std::string> names;
  for (const SettingRow& row : SettingTable()) names.push_back(row.environment_name());
  std::vector<ConfigEntry> entries;
  for (const auto& [name, text] : source.environment) {
    const auto it = std::find(names.begin(), names.end(), name);
    const std::string where = "environment " + name;
    if (it == names.end()) {
      const std::string message = where + ": no such setting" + Hint(name, names);
      if (!source.allow_unknown_keys) return InvalidArgument(message);
      draft->warnings().push_back(message + ": ignored");
      continue;
    }
    RERANKD_ASSIGN_OR_RETURN(ConfigValue value, ParseConfigValue(text, where));
    entries.push_back({SettingTable()[static_cast<size_t>(it - names.begin())].key, std::move(value)});
  }
  return draft->Add(entries, Draft::Layer::kOverride, source.allow_unknown_keys);
}

// One layer each: a later override wins over an earlier one of the same key, whatever its spelling.
Status AddOverrides(const SettingsSource& source, Draft* draft) {
  for (const std::string& text : source.overrides) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      return InvalidArgument(fmt::format("--set '{}': expected key=value", text));
    RERANKD_ASSIGN_OR_RETURN(ConfigValue value, ParseConfigValue(text.substr(equals + 1), "--set"));
    RERANKD_RETURN_IF_ERROR(draft->Add({{text.substr(0, equals), std::move(value)}}, Draft::Layer::kOverride,
                                       source.allow_unknown_keys));
  }
  return {};
}

Result<Draft> ReadLayers(const SettingsSource& source) {
  Draft draft;
  RERANKD_RETURN_IF_ERROR(AddFiles(source, &draft));
  RERANKD_RETURN_IF_ERROR(AddEnvironment(source, &draft));
  RERANKD_RETURN_IF_ERROR(AddOverrides(source, &draft));
  return draft;
}

PrecisionKeys PrecisionOf(const Draft& draft, int scope) {
  PrecisionKeys keys;
  for (const ConfigEntry& entry : draft.entries()) {
    const KeyScope key = KeyScope::Of(entry.path);
    if (key.instance == scope && IsPrecisionField(key.field)) keys[key.field] = entry.value;
  }
  return keys;
}

Status BuildPrecision(const Draft& draft, int index, InstanceSettings* instance) {
  PrecisionKeys keys = PrecisionOf(draft, index);
  if (keys.empty()) keys = PrecisionOf(draft, KeyScope::kModel);
  RERANKD_ASSIGN_OR_RETURN(instance->precision, ResolvePrecision(keys, instance->backend));
  return {};
}

// A file that leaves max_length to its model_pool group ran with another length than it does here. `value`:
// what was given; what only the base file gives stood below the group.
void WarnOfComposedLength(const Draft& draft, const ConfigValue* value, int effective,
                          std::vector<std::string>* warnings) {
  const bool given = value != nullptr && value->where.find(kBaseFile) == std::string::npos;
  if (draft.composed_at().empty() || given || effective == kComposedMaxLength) return;
  warnings->push_back(fmt::format(
      "{}: defaults: the reference system's model_pool group has a max_length of {}; here it is {}: set "
      "model.max_length to {} to cut where it did",
      draft.composed_at(), kComposedMaxLength, effective, kComposedMaxLength));
}

Status BuildInstance(const Draft& draft, int index, InstanceSettings* instance,
                     std::vector<std::string>* warnings) {
  Settings unused;
  for (const SettingRow& row : SettingTable()) {
    if (!row.of_instance() || row.key == "model.precision") continue;
    KeyScope scope = KeyScope::Of(row.key);
    const ConfigValue* value = draft.Find(row.key);
    scope.instance = index;
    if (const ConfigValue* own = draft.Find(scope.path())) value = own;
    if (value != nullptr) RERANKD_RETURN_IF_ERROR(ParseSetting(row, *value, row.field(unused, *instance)));
    if (row.key == "model.max_length") WarnOfComposedLength(draft, value, instance->max_length, warnings);
  }
  RERANKD_RETURN_IF_ERROR(BuildPrecision(draft, index, instance));
  return SettleInstance(instance, warnings);
}

Status CheckTogether(const Settings& settings) {
  const ServerSettings& server = settings.server;
  if (server.grpc_port > 0 && server.grpc_port == server.http_port)
    return InvalidArgument(
        fmt::format("server.grpc_port and server.http_port are both {}; choose two ports", server.grpc_port));
  return {};
}

Status CheckDocuments(const DocumentSettings& documents) {
  if (documents.window > 0 && documents.stride > documents.window)
    return InvalidArgument(fmt::format(
        "documents.stride is {}, documents.window {}: what lies between two windows would not be looked at",
        documents.stride, documents.window));
  return {};
}

Status CheckExperiment(const ExperimentSettings& experiment) {
  const bool open = experiment.load == "open";
  if (open == experiment.rates.empty())
    return InvalidArgument(open ? "experiment.load is open: give experiment.rates, such as [50%, 80%]"
                                : "experiment.rates is for an open loop: set experiment.load to open");
  for (const std::string& rate : experiment.rates)
    RERANKD_RETURN_IF_ERROR(ParseRate(rate).status().WithContext("experiment.rates"));
  return {};
}

Status CheckTargets(const ExperimentSettings& experiment) {
  std::set<std::string> seen;
  for (const std::string& target : experiment.targets) {
    RERANKD_RETURN_IF_ERROR(ParseTarget(target).status().WithContext("experiment.targets"));
    if (!seen.insert(target).second)
      return InvalidArgument(fmt::format("experiment.targets: '{}' is there twice", target));
  }
  return {};
}

// A sweep starts a server for each combination; targets are running already.
Status CheckSweepOfTargets(const std::vector<ConfigEntry>& swept, const ExperimentPlan& plan) {
  if (plan.variants.front().settings.experiment.targets.empty()) return {};
  for (const ConfigEntry& entry : swept)
    if (!entry.path.starts_with("experiment."))
      return InvalidArgument(
          fmt::format("{}: {} holds a list, but experiment.targets are running already: a sweep of servers "
                      "needs servers of its own",
                      entry.value.where, entry.path));
  return {};
}

Result<Settings> Build(const Draft& draft, std::vector<std::string>* warnings) {
  Settings settings;
  settings.instances.resize(static_cast<size_t>(std::max(1, draft.instances())));
  for (const SettingRow& row : SettingTable()) {
    const ConfigValue* value = row.of_instance() ? nullptr : draft.Find(row.key);
    if (value == nullptr) continue;
    RERANKD_RETURN_IF_ERROR(ParseSetting(row, *value, row.field(settings, settings.instances.front())));
  }
  for (size_t i = 0; i < settings.instances.size(); ++i)
    RERANKD_RETURN_IF_ERROR(BuildInstance(draft, static_cast<int>(i), &settings.instances[i], warnings));
  RERANKD_RETURN_IF_ERROR(CheckTogether(settings));
  RERANKD_RETURN_IF_ERROR(CheckDocuments(settings.documents));
  RERANKD_RETURN_IF_ERROR(CheckExperiment(settings.experiment));
  RERANKD_RETURN_IF_ERROR(CheckTargets(settings.experiment));
  return settings;
}

bool IsSwept(const ConfigEntry& entry) {
  const SettingRow* row = FindSetting(KeyScope::Of(entry.path).canonical());
  return entry.value.is_list && (row == nullptr || !HoldsList(*row));
}

std::vector<ConfigEntry> SweptKeys(const Draft& draft) {
  std::vector<ConfigEntry> swept;
  for (const ConfigEntry& entry : draft.entries())
    if (IsSwept(entry)) swept.push_back(entry);
  return swept;
}

// What a swept value adds to the label: the spellings of the reference system where it has one.
std::string LabelPart(const std::string& path, const std::string& value) {
  const std::string key = KeyScope::Of(path).canonical();
  if (key == "batching.timeout_ms") return "_" + value + "ms";
  if (key == "batching.max_batch_size") return "_batch" + value;
  if (key == "model.compile_mode")
    return value == "reduce-overhead" ? "_ro" : value == "max-autotune" ? "_ma" : "_def";
  if (key == "model.backend" || key == "model.precision" || key == "model.quantization" ||
      key == "model.quantization_mode")
    return "_" + value;
  return fmt::format("_{}={}", key.substr(key.rfind('.') + 1), value);
}

Result<size_t> CountVariants(const std::vector<ConfigEntry>& swept) {
  size_t count = 1;
  for (const ConfigEntry& entry : swept) {
    if (entry.value.items.empty())
      return InvalidArgument(
          fmt::format("{}: {}: the list is empty; give at least one value", entry.value.where, entry.path));
    count *= entry.value.items.size();
    if (count > kMaxVariants)
      return InvalidArgument(
          fmt::format("{}: {}: the swept lists make more than {} combinations; shorten them",
                      entry.value.where, entry.path, kMaxVariants));
  }
  return count;
}

// Fixes every swept key to its value in combination `number` (the last key counts fastest).
PlanVariant ChooseValues(const std::vector<ConfigEntry>& swept, size_t number, Draft* draft) {
  std::vector<std::string> parts(swept.size());
  for (size_t k = swept.size(); k-- > 0;) {
    const ConfigValue& list = swept[k].value;
    const std::string& item = list.items[number % list.items.size()];
    number /= list.items.size();
    draft->Set(swept[k].path, {{item}, false, list.where});
    parts[k] = LabelPart(swept[k].path, item);
  }
  return {Join(parts, ""), {}};
}

void AppendNew(const std::vector<std::string>& from, std::vector<std::string>* to) {
  for (const std::string& text : from)
    if (std::find(to->begin(), to->end(), text) == to->end()) to->push_back(text);
}

// A relative path of data is relative to the file that names it.
void ResolvePath(const Draft& draft, const char* key, std::string* path) {
  const ConfigValue* value = draft.Find(key);
  if (value == nullptr || path->empty() || *path == "bundled" || fs::path(*path).is_absolute()) return;
  const size_t colon = value->where.rfind(':');
  if (colon == std::string::npos || !value->where.substr(0, colon).ends_with("aml")) return;
  *path = (fs::path(value->where.substr(0, colon)).parent_path() / *path).lexically_normal().string();
}

void ResolvePaths(const Draft& draft, Settings* settings) {
  ResolvePath(draft, "experiment.dataset", &settings->experiment.dataset);
  ResolvePath(draft, "experiment.api_key_file", &settings->experiment.api_key_file);
  ResolvePath(draft, "experiment.ca_file", &settings->experiment.ca_file);
  ResolvePath(draft, "experiment.quality.data", &settings->experiment.quality.data);
  ResolvePath(draft, "experiment.quality.scores", &settings->experiment.quality.scores);
}

std::string Quoted(const std::vector<ConfigEntry>& entries) {
  std::vector<std::string> names;
  for (const ConfigEntry& entry : entries) names.push_back(entry.path);
  return Join(names, ", ");
}

}  // namespace

std::map<std::string, std::string> SettingsEnvironment() {
  std::map<std::string, std::string> found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals != std::string::npos && name.starts_with("RERANKD_") && name.find("__") != std::string::npos)
      found[name] = text.substr(equals + 1);
  }
  return found;
}

Result<LoadedSettings> LoadSettings(const SettingsSource& source) {
  RERANKD_ASSIGN_OR_RETURN(Draft draft, ReadLayers(source));
  const std::vector<ConfigEntry> swept = SweptKeys(draft);
  if (!swept.empty())
    return InvalidArgument(fmt::format(
        "{}: a server runs one value of each key, but these hold lists: {}; choose one with --set key=value",
        swept.front().value.where, Quoted(swept)));
  LoadedSettings loaded;
  loaded.warnings = draft.warnings();
  RERANKD_ASSIGN_OR_RETURN(loaded.settings, Build(draft, &loaded.warnings));
  ResolvePaths(draft, &loaded.settings);
  return loaded;
}

Result<ExperimentPlan> LoadExperiment(const SettingsSource& source) {
  RERANKD_ASSIGN_OR_RETURN(Draft draft, ReadLayers(source));
  if (draft.Find(kMergeKey) == nullptr) draft.Set(kMergeKey, {{"false"}, false, "default"});
  if (draft.Find(kQueueKey) == nullptr) draft.Set(kQueueKey, {{kExperimentQueueMs}, false, "default"});
  const std::vector<ConfigEntry> swept = SweptKeys(draft);
  RERANKD_ASSIGN_OR_RETURN(const size_t count, CountVariants(swept));
  ExperimentPlan plan{source.path, fs::path(source.path).stem().string(), {}, draft.warnings()};
  for (size_t number = 0; number < count; ++number) {
    Draft chosen = draft;
    PlanVariant variant = ChooseValues(swept, number, &chosen);
    std::vector<std::string> warnings;
    RERANKD_ASSIGN_OR_RETURN(variant.settings, Build(chosen, &warnings));
    ResolvePaths(chosen, &variant.settings);
    AppendNew(warnings, &plan.warnings);
    plan.variants.push_back(std::move(variant));
  }
  RERANKD_RETURN_IF_ERROR(CheckSweepOfTargets(swept, plan));
  return plan;
}

}  // namespace rerankd
