// What several subcommands share: model flags, engine start-up, error output.
#pragma once

#include <CLI/App.hpp>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "core/request.h"
#include "core/scoring.h"
#include "engine/engine.h"
#include "engine/model_source.h"
#include "engine/ordered_scorer.h"

namespace rerankd {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Of the source that this program was built from: "1a2b3c4", "1a2b3c4-dirty", "unknown".
extern const char* const kSourceCommit;

// Prints "rerankd: message" to stderr; returns kExitFailed.
int Fail(const Status& status);

// 0, or what Fail gives.
inline int ExitCode(const Status& status) { return status.ok() ? 0 : Fail(status); }

// Configuration as flags: --config, --set, and one flag for each row of the settings table that has one.
struct ConfigFlags {
  std::string config_file;
  std::vector<std::string> overrides;  // "key=value"
  bool allow_unknown_keys = false;
  bool several_models = false;      // --model may be repeated; set it before AddTo
  std::vector<std::string> models;  // then: its values

  // `sections` limits the flags to keys that start with one of them: {"model.", "server."}.
  void AddTo(CLI::App& app, std::initializer_list<std::string_view> sections);
  // Flags over environment over file over defaults. Warnings go to the log.
  Result<Settings> Load() const;
};

// The engine for work inside this process: nothing is ever refused for a long queue.
Result<std::unique_ptr<Engine>> StartEmbedded(Settings settings);

// Draws a progress bar for each file that is fetched from a hub.
FetchProgress DownloadBar(bool enabled);

// Fetches the models that `settings` names and this machine lacks, showing progress.
Status FetchMissingModels(const Settings& settings);

// --activation: "raw" (default), "model", "sigmoid", "softmax".
Result<Activation> ChooseActivation(const std::string& name, const ModelInfo& model);

// Pairs, tokens and seconds of a finished job, for its last line on stderr.
struct Throughput {
  int64_t pairs = 0, tokens = 0, truncated = 0, repaired = 0;
  TimePoint start = SteadyClock::Get().Now();

  void Count(const ScoreResult& result);
  // "4300 pairs in 12.34 s: 348.5 pairs/s, 33211 tokens/s (tokenising included)", then a line for truncated
  // pairs and one for texts whose ill-formed bytes were read as U+FFFD, if any.
  void Print(int max_length) const;
};

// Counts `text` in *repaired if it is not well-formed UTF-8.
void CheckUtf8(const std::string& text, int64_t* repaired);

}  // namespace rerankd
