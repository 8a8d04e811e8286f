// Where models come from: this machine, or a Hugging Face hub.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd {

using FetchProgress = std::function<void(const std::string& file, int64_t done, int64_t total)>;

// The folder of `model` (a folder, a bundled model's name, a Hugging Face id): as found on this machine, else
// fetched. Errors: hub/model_directory.h, hub/pull.h.
Result<std::string> ProvideModel(const std::string& model, const FetchProgress& progress);

// Asks the hub even if some revision of the model is here: what its branch stands for now.
Result<std::string> PullModel(const std::string& model, const FetchProgress& progress);

struct LocalModel {
  std::string name;  // as --model takes it
  std::string folder;
};
// Bundled models, then those of the Hugging Face cache that are complete rerankers, each sorted by name.
std::vector<LocalModel> LocalModels();

}  // namespace rerankd
