#include "common.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "base/log.h"
#include "base/progress.h"
#include "base/text.h"
#include "config/load.h"
#include "config/setting_table.h"

namespace rerankd {

const char* const kSourceCommit =
#include "commit.inc"
    ;

int Fail(const Status& status) {
  fmt::print(stderr, "rerankd: {}\n", status.message());
  return kExitFailed;
}

void ConfigFlags::AddTo(CLI::App& app, std::initializer_list<std::string_view> sections) {
  app.add_option("--config", config_file, "YAML file with any key of docs/settings.md");
  app.add_option("--set", overrides, "KEY=VALUE, any configuration key; repeatable")->allow_extra_args(false);
  app.add_flag("--allow-unknown-keys", allow_unknown_keys,
               "unknown keys of the file are warnings, not errors");
  for (const SettingRow& row : SettingTable()) {
    const auto in_section = [&](std::string_view section) { return row.key.starts_with(section); };
    if (row.flag.empty() || std::none_of(sections.begin(), sections.end(), in_section)) continue;
    if (several_models && row.key == "model.name") {
      app.add_option(row.flag, models, row.help + "; repeatable: several models, asked for by name")
          ->allow_extra_args(false);
      continue;
    }
    app.add_option_function<std::string>(
        row.flag, [this, key = row.key](const std::string& value) { overrides.push_back(key + "=" + value); },
        row.help + " [" + row.default_text() + "]");
  }
}

namespace {

// The instances of the configuration once for each model.
std::vector<InstanceSettings> ForEachModel(const std::vector<InstanceSettings>& instances,
                                           const std::vector<std::string>& models) {
  std::vector<InstanceSettings> all;
  for (const std::string& model : models)
    for (InstanceSettings instance : instances) {
      instance.model = model;
      all.push_back(std::move(instance));
    }
  return all;
}

}  // namespace

Result<Settings> ConfigFlags::Load() const {
  const SettingsSource source{config_file, overrides, SettingsEnvironment(), allow_unknown_keys};
  RERANKD_ASSIGN_OR_RETURN(LoadedSettings loaded, LoadSettings(source));
  if (!models.empty()) loaded.settings.instances = ForEachModel(loaded.settings.instances, models);
  for (const std::string& warning : loaded.warnings) Log(LogLevel::kWarning, warning);
  return std::move(loaded.settings);
}

FetchProgress DownloadBar(bool enabled) {
  struct Current {
    std::string file;
    std::unique_ptr<ProgressBar> bar;
  };
  return
      [enabled, current = std::make_shared<Current>()](const std::string& file, int64_t done, int64_t total) {
        if (current->bar == nullptr || current->file != file) {
          current->file = file;
          current->bar = std::make_unique<ProgressBar>(file, total, "bytes", enabled);
        }
        current->bar->Set(done);
      };
}

Status FetchMissingModels(const Settings& settings) {
  for (const InstanceSettings& instance : settings.instances)
    RERANKD_RETURN_IF_ERROR(
        ProvideModel(instance.model, UsesOf(settings, instance.model), DownloadBar(true)).status());
  return {};
}

Result<std::unique_ptr<Engine>> StartEmbedded(Settings settings) {
  RERANKD_RETURN_IF_ERROR(FetchMissingModels(settings));
  settings.scheduler.max_queue_ms = std::numeric_limits<double>::infinity();
  settings.scheduler.max_queue_tokens = 0;
  settings.scheduler.default_deadline_ms = 0;
  return Engine::Create(settings);
}

Result<Activation> ChooseActivation(const std::string& name, const ModelInfo& model) {
  if (name == "model") return model.activation;
  auto parsed = ParseActivation(name);
  if (!parsed.ok())
    return InvalidArgument("--activation '" + name + "' is not one of raw, model, sigmoid, softmax");
  return parsed;
}

void Throughput::Count(const ScoreResult& result) {
  pairs += static_cast<int64_t>(result.tokens.size());
  tokens += result.counts.real;
  truncated += result.counts.truncated_pairs;
}

void Throughput::Print(int max_length) const {
  const double seconds = ToSeconds(SteadyClock::Get().Now() - start);
  fmt::print(stderr, "{} pairs in {:.2f} s: {:.1f} pairs/s, {:.0f} tokens/s (tokenising included)\n", pairs,
             seconds, static_cast<double>(pairs) / seconds, static_cast<double>(tokens) / seconds);
  if (truncated > 0)
    fmt::print(stderr, "warning: {} pairs were longer than {} tokens and were truncated (--max-length)\n",
               truncated, max_length);
  if (repaired > 0)
    fmt::print(stderr,
               "warning: {} texts held bytes that are not UTF-8; each such sequence was read as U+FFFD\n",
               repaired);
}

void CheckUtf8(const std::string& text, int64_t* repaired) {
  if (FirstInvalidUtf8(text)) ++*repaired;
}

}  // namespace rerankd
