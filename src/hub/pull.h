// Fetches a model from a Hugging Face hub into the local cache: only the files that a cross-encoder needs,
// resumed where a transfer was cut, checked, and visible to others only when whole.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "hub/model_directory.h"

namespace rerankd::hub {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";
  std::string token;  // empty = anonymous
  std::string cache;  // the "hub" folder
  bool offline = false;

  // HF_ENDPOINT; HF_TOKEN, or the file HF_TOKEN_PATH or <HF_HOME>/token; HF_HUB_OFFLINE; the cache of
  // ModelPlaces.
  static HubSettings FromEnvironment();
};

struct PullOptions {
  // Looks at config.json before any weights are fetched; not OK ends the pull with that status.
  std::function<Status(const std::string& config_path)> check_config;
  // Which of the repository's files are wanted besides those of every model.
  std::function<std::vector<std::string>(const std::vector<std::string>& files)> more_files;
  // Called now and then while a file is fetched. total is 0 while unknown.
  std::function<void(const std::string& file, int64_t done, int64_t total)> progress;
};

// The snapshot folder with the model's files.
// kFailedPrecondition: offline, a gated or private repository, no safetensors, not a supported model.
// kNotFound: no such repository or revision. kResourceExhausted: the hub wants us to wait. kUnavailable: no
// connection after retries. kInternal: a wrong checksum (the bad file is removed), or the disk.
Result<std::string> Pull(const HubModel& model, const HubSettings& settings, const PullOptions& options);

}  // namespace rerankd::hub
