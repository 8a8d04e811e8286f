// Configuration files, environment and overrides -> Settings. Precedence: override > environment > file >
// base_config.yaml beside the file > default. Pure but for reading the named files: the caller hands the
// environment in and prints the warnings.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace rerankd {

struct SettingsSource {
  std::string path;                    // empty = no file
  std::vector<std::string> overrides;  // "key=value", flags included; a later one wins
  std::map<std::string, std::string> environment;
  bool allow_unknown_keys = false;  // unknown keys become warnings
};

struct LoadedSettings {
  Settings settings;
  std::vector<std::string> warnings;  // where effect and wording of the configuration differ
};

// One combination of the keys that hold lists.
struct PlanVariant {
  std::string label;  // "_int8_20ms"; empty when nothing is swept
  Settings settings;
};

struct ExperimentPlan {
  std::string path;
  std::string stem;                   // file name without ".yaml"
  std::vector<PlanVariant> variants;  // in run order; at least one
  std::vector<std::string> warnings;
};

// Those variables of this process that name settings: RERANKD_<SECTION>__<KEY>.
std::map<std::string, std::string> SettingsEnvironment();

// For a server: lists in scalar keys are an error. kNotFound: no such file. kInvalidArgument: names file,
// line, key, value, bounds and the nearest known key.
Result<LoadedSettings> LoadSettings(const SettingsSource& source);

// For experiments: a scalar key that holds a list is swept (cartesian product, the last key fastest), and
// scheduler.max_queue_ms is a minute and documents.merge_equal false unless they are given.
Result<ExperimentPlan> LoadExperiment(const SettingsSource& source);

// YAML of every setting; loading it gives the same Settings.
std::string DumpSettings(const Settings& settings);
// The section "experiment" of it: all that matters to servers that are running already.
std::string DumpExperiment(const Settings& settings);

// docs/settings.md: the table of settings and the keys of the reference system.
std::string SettingsMarkdown();

}  // namespace rerankd
