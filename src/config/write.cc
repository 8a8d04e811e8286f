// The configuration as text: the YAML dump and docs/settings.md.
#include <fmt/format.h>

#include "config/load.h"
#include "config/reference_keys.h"
#include "config/setting_table.h"

namespace rerankd {
namespace {

std::string DumpInstance(InstanceSettings instance) {
  Settings unused;
  std::string text;
  for (const SettingRow& row : SettingTable()) {
    if (!row.of_instance()) continue;
    text += fmt::format("    {} {}: {}\n", text.empty() ? "-" : " ", row.key.substr(row.key.find('.') + 1),
                        FormatSetting(row.field(unused, instance)));
  }
  return text;
}

std::string TableRow(const SettingRow& row) {
  std::string text = fmt::format("| `{}` | {} | `{}` | {} | ", row.key, row.type_name(), row.default_text(),
                                 row.type_name() == "text" && row.choices.empty() ? "" : row.range_text());
  return text + fmt::format("{} | {} |\n", row.flag.empty() ? "" : "`" + row.flag + "`", row.help);
}

std::string ReferenceRow(const ReferenceKey& key) {
  std::string meaning;
  if (key.kind == ReferenceKey::Kind::kAlias) meaning = fmt::format("read as `{}`", key.target);
  if (key.kind == ReferenceKey::Kind::kPrecision) meaning = "an older way to say `model.precision`";
  if (key.kind == ReferenceKey::Kind::kInert) meaning = "no effect";
  return fmt::format("| `{}` | {} | {} |\n", key.key, meaning, key.note);
}

constexpr std::string_view kIntro = R"(# Settings

Made by `rerankd settings --markdown`; a test compares this page with the table in the program.

Precedence: flag or `--set key=value`, then environment, then file, then `base_config.yaml` beside the file (maps are merged
key by key, lists and single values replaced whole), then default. The environment variable of a key is
`RERANKD_` + the key in upper case with `__` for each dot: `RERANKD_BATCHING__ENABLED=true`.

Keys `model.…` describe one instance. Several instances stand in a list, `model_pool.instances`, with the same keys (`name`, `backend`, …);
what an instance does not say it takes from `model`. `--set model.backend=native` (or the flag) reaches every instance,
`--set model_pool.instances[1].threads=2` one of them.

In an experiment file a key of a single value may hold a list: every combination is run, the last key fastest, each on a fresh server.
Unknown keys are errors that name the nearest known key; `--allow-unknown-keys` makes them warnings.

| key | type | default | allowed | flag | meaning |
|---|---|---|---|---|---|
)";

constexpr std::string_view kReferenceIntro = R"(
## Keys of the reference system

Its files run unchanged. Besides the keys above it has these (`benchmark` is another name of section `experiment`,
`models` of `model_pool.instances`). Where the wording and the effect differ, a warning says so.

| key | here | why |
|---|---|---|
)";

constexpr std::string_view kPrecisionRules = R"(
Precision: `model.precision` beats the older keys, and disagreeing with one in the same file is an error. Among the older keys `quantization` comes first,
then `quantized`/`quantization_mode`, then the block of the backend that runs (`mps.fp16`, `mlx.bits`, `compiled.fp16`), then `use_fp16`.
)";

std::string SectionOf(const SettingRow& row) {
  const size_t dot = row.key.find('.');
  return dot == std::string::npos ? "" : row.key.substr(0, dot);
}

// `only` = a section; null = all.
std::string Dump(const Settings& settings, const char* only) {
  Settings copy = settings;
  std::string text, section;
  for (const SettingRow& row : SettingTable()) {
    const std::string own = SectionOf(row);
    if (row.of_instance() || (only != nullptr && own != only)) continue;
    if (own != section) text += own + ":\n";
    section = own;
    text +=
        fmt::format("{}{}: {}\n", own.empty() ? "" : "  ", row.key.substr(own.empty() ? 0 : own.size() + 1),
                    FormatSetting(row.field(copy, copy.instances.front())));
    if (own == "model_pool") {
      text += "  instances:\n";
      for (const InstanceSettings& instance : settings.instances) text += DumpInstance(instance);
    }
  }
  return text;
}

}  // namespace

std::string DumpSettings(const Settings& settings) { return Dump(settings, nullptr); }

std::string DumpExperiment(const Settings& settings) { return Dump(settings, "experiment"); }

std::string SettingsMarkdown() {
  std::string text(kIntro);
  for (const SettingRow& row : SettingTable()) text += TableRow(row);
  text += kReferenceIntro;
  for (const ReferenceKey& key : ReferenceKeys()) text += ReferenceRow(key);
  text += kPrecisionRules;
  return text;
}

}  // namespace rerankd
