// Where models come from: this machine, or a Hugging Face hub.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace rerankd {

using FetchProgress = std::function<void(const std::string& file, int64_t done, int64_t total)>;

// What will run a model. An engine may run a file that the repository has besides the weights
// (backends/engine_files.h): it is fetched with them.
struct ModelUse {
  std::string backend, precision;
};

// The folder of `model` (a folder, a bundled model's name, a Hugging Face id): as found on this machine, else
// fetched for all `uses`. Errors: hub/model_directory.h, hub/pull.h.
Result<std::string> ProvideModel(const std::string& model, const std::vector<ModelUse>& uses,
                                 const FetchProgress& progress);

// Asks the hub even if some revision of the model is here: what its branch stands for now.
Result<std::string> PullModel(const std::string& model, const std::vector<ModelUse>& uses,
                              const FetchProgress& progress);

// Of the files of a repository, those that the uses want: for each the best one and what belongs to it.
std::vector<std::string> FilesForUses(const std::vector<ModelUse>& uses,
                                      const std::vector<std::string>& files);

// The files of which a use wants one, if the folder has none of them.
std::vector<std::string> AbsentFiles(const ModelUse& use, const std::string& folder);

// The uses of a model in a configuration.
std::vector<ModelUse> UsesOf(const Settings& settings, const std::string& model);

struct LocalModel {
  std::string name;  // as --model takes it
  std::string folder;
};
// Bundled models, then those of the Hugging Face cache that are complete rerankers, each sorted by name.
std::vector<LocalModel> LocalModels();

}  // namespace rerankd
