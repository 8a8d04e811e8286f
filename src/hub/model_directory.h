// Where a MODEL argument lives on this machine: a folder, a bundled model, or a Hugging Face id in the local
// cache. Nothing is downloaded here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace rerankd {

struct ModelPlaces {
  std::vector<std::string> bundled;  // folders that hold bundled models, in order of preference
  std::string hub_cache;             // Hugging Face cache ("…/huggingface/hub"); empty if there is no home

  // From RERANKD_MODELS_DIR, the folder of the running program and those above it, and HF_HUB_CACHE, HF_HOME,
  // XDG_CACHE_HOME, HOME.
  static ModelPlaces FromEnvironment();
};

struct HubModel {
  std::string id;        // "ORG/NAME"
  std::string revision;  // branch, tag or commit; "main" where the argument names none
};

// Is `model` spelt like ORG/NAME[@REV]? kInvalidArgument says what is wrong with it.
Result<HubModel> ParseHubModel(std::string_view model);

// The folder with the model's config.json; a model in the cache counts only if it is whole (hub/cache.h). A
// name without a slash is looked up among the bundled models first ("./default" is the folder). kNotFound
// says where it looked and the way out.
Result<std::string> ResolveModelDirectory(const std::string& model, const ModelPlaces& places);

// Name and folder of every model that these places hold, bundled ones first, each sorted by name; of a
// repository in the cache, the commit that its branch "main" stands for.
std::vector<std::pair<std::string, std::string>> ListModels(const ModelPlaces& places);

}  // namespace rerankd
