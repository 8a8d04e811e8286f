#include "engine/model_source.h"

#include <algorithm>
#include <filesystem>

#include "backends/engine_files.h"
#include "hub/model_directory.h"
#include "hub/pull.h"
#include "weights/model_config.h"

namespace rerankd {
namespace {

// Before any weights are fetched: is it a model that we can run?
Status CheckFetchedConfig(const std::string& path) {
  return LoadModelConfig(std::filesystem::path(path).parent_path().string()).status();
}

}  // namespace

Result<std::string> ProvideModel(const std::string& model, const std::vector<ModelUse>& uses,
                                 const FetchProgress& progress) {
  auto local = ResolveModelDirectory(model, ModelPlaces::FromEnvironment());
  // Only what is spelt like a hub's id and is not here can be fetched.
  if (local.ok() || local.status().code() != Code::kNotFound || !ParseHubModel(model).ok()) return local;
  return PullModel(model, uses, progress);
}

Result<std::string> PullModel(const std::string& model, const std::vector<ModelUse>& uses,
                              const FetchProgress& progress) {
  RERANKD_ASSIGN_OR_RETURN(const HubModel hub_model, ParseHubModel(model));
  const auto more = [&](const std::vector<std::string>& files) { return FilesForUses(uses, files); };
  return hub::Pull(hub_model, hub::HubSettings::FromEnvironment(), {CheckFetchedConfig, more, progress});
}

std::vector<std::string> FilesForUses(const std::vector<ModelUse>& uses,
                                      const std::vector<std::string>& files) {
  const auto has = [&](const std::string& file) {
    return std::find(files.begin(), files.end(), file) != files.end();
  };
  std::vector<std::string> wanted;
  const auto want = [&](const std::string& file) {
    if (has(file) && std::find(wanted.begin(), wanted.end(), file) == wanted.end()) wanted.push_back(file);
  };
  for (const ModelUse& use : uses) {
    const std::vector<std::string> candidates = EngineFiles(use.backend, use.precision);
    const auto best = std::find_if(candidates.begin(), candidates.end(), has);
    if (best == candidates.end()) continue;
    // The file itself last: who finds it finds all that it needs.
    for (const std::string& companion : CompanionsOf(*best)) want(companion);
    want(*best);
  }
  return wanted;
}

std::vector<std::string> AbsentFiles(const ModelUse& use, const std::string& folder) {
  if (!FindEngineFile(folder, use.backend, use.precision).empty()) return {};
  return EngineFiles(use.backend, use.precision);
}

std::vector<ModelUse> UsesOf(const Settings& settings, const std::string& model) {
  std::vector<ModelUse> uses;
  for (const InstanceSettings& instance : settings.instances)
    if (instance.model == model) uses.push_back({instance.backend, instance.precision});
  return uses;
}

std::vector<LocalModel> LocalModels() {
  std::vector<LocalModel> models;
  for (const auto& [name, folder] : ListModels(ModelPlaces::FromEnvironment()))
    if (LoadModelConfig(folder).ok()) models.push_back({name, folder});
  return models;
}

}  // namespace rerankd
