#include "engine/model_source.h"

#include <filesystem>

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

Result<std::string> ProvideModel(const std::string& model, const FetchProgress& progress) {
  auto local = ResolveModelDirectory(model, ModelPlaces::FromEnvironment());
  // Only what is spelt like a hub's id and is not here can be fetched.
  if (local.ok() || local.status().code() != Code::kNotFound || !ParseHubModel(model).ok()) return local;
  return PullModel(model, progress);
}

Result<std::string> PullModel(const std::string& model, const FetchProgress& progress) {
  RERANKD_ASSIGN_OR_RETURN(const HubModel hub_model, ParseHubModel(model));
  return hub::Pull(hub_model, hub::HubSettings::FromEnvironment(), {CheckFetchedConfig, progress});
}

std::vector<LocalModel> LocalModels() {
  std::vector<LocalModel> models;
  for (const auto& [name, folder] : ListModels(ModelPlaces::FromEnvironment()))
    if (LoadModelConfig(folder).ok()) models.push_back({name, folder});
  return models;
}

}  // namespace rerankd
