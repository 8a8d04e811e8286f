#include "engine/backend_registry.h"

#include <exception>

#include "backends/fake/fake_backend.h"
#include "backends/native/native_backend.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/plugin_loader.h"
#include "kernels/dispatch.h"

namespace rerankd {
namespace {

BackendDescription DescribePlugin(const PluginBackend& backend) {
  const std::string name(backend.name), get(backend.get);
  const auto plugin = LoadPlugin(backend.plugin);
  if (!plugin.ok())
    return {name, {}, "", plugin.status().message(), get, plugin.status().code() != Code::kNotFound};
  try {
    PluginDescription found = (*plugin)->Describe(name);
    return {
        name,        std::move(found.devices), std::move(found.details), std::move(found.missing), found.get,
        found.broken};
  } catch (const std::exception& error) {
    return {name, {}, "", "its plugin cannot describe it: " + std::string(error.what()), get, true};
  }
}

std::string WhatThereIs() {
  std::vector<std::string> names;
  for (const BackendDescription& backend : AvailableBackends())
    if (backend.missing.empty()) names.push_back(backend.name + " (" + Join(backend.devices, ", ") + ")");
  return "here are " + Join(names, ", ") + "; --set model.backend=native runs everywhere";
}

Status UnknownBackend(const std::string& name) {
  std::vector<std::string> known;
  for (const BackendDescription& backend : AvailableBackends()) known.push_back(backend.name);
  return InvalidArgument("unknown backend '" + name + "'" + Hint(name, known) + ": " + WhatThereIs());
}

}  // namespace

std::vector<BackendDescription> AvailableBackends() {
  const auto kernels = ChooseKernelsFromEnvironment();
  std::vector<BackendDescription> backends = {
      {"native", {"cpu"}, kernels.ok() ? std::string((*kernels)->name) : kernels.status().message()},
      {"fake", {"cpu"}, "for tests: scores mean nothing"}};
  for (const PluginBackend& backend : PluginBackends()) backends.push_back(DescribePlugin(backend));
  return backends;
}

Result<BackendRegistry::Backends> BackendRegistry::Make(const BackendRequest& request) {
  if (request.settings.backend == "native") return MakeNative(request);
  if (request.settings.backend == "fake") return MakeFake(request);
  return MakeFromPlugin(request);
}

Result<BackendRegistry::Backends> BackendRegistry::MakeFromPlugin(const BackendRequest& request) {
  const InstanceSettings& settings = request.settings;
  const PluginBackend* backend = FindPluginBackend(settings.backend);
  if (backend == nullptr) return UnknownBackend(settings.backend);
  const auto plugin = LoadPlugin(backend->plugin);
  if (!plugin.ok())
    return FailedPrecondition("backend '" + settings.backend + "' is not here: " + plugin.status().message() +
                              "; get it with: " + std::string(backend->get) + "; " + WhatThereIs());
  // Backends that are named after their device need no other setting.
  const std::string device = settings.device == "cpu" ? std::string(backend->device) : settings.device;
  try {
    return (*plugin)->Make({settings.backend, device, settings.precision, settings.compile_mode,
                            settings.group_size, request.directory, request.workers});
  } catch (const std::exception& error) {
    return Internal("backend '" + settings.backend + "': " + error.what());
  }
}

Result<BackendRegistry::Backends> BackendRegistry::MakeNative(const BackendRequest& request) {
  if (request.settings.device != "cpu")
    return FailedPrecondition("device '" + request.settings.device + "' of backend native: " + WhatThereIs());
  auto& model = native_models_[{request.directory, request.settings.precision}];
  if (model == nullptr) {
    RERANKD_ASSIGN_OR_RETURN(model, NativeModel::Load(request.directory, request.settings.precision));
  }
  Backends backends;
  for (int i = 0; i < request.workers; ++i) backends.push_back(MakeNativeBackend(model));
  return backends;
}

Result<BackendRegistry::Backends> BackendRegistry::MakeFake(const BackendRequest& request) {
  FakeOptions defaults;
  defaults.num_labels = request.config.num_labels;
  defaults.max_tokens = request.config.max_positions;
  RERANKD_ASSIGN_OR_RETURN(const FakeOptions options, ParseFakeOptions(request.settings.device, defaults));
  Backends backends;
  for (int i = 0; i < request.workers; ++i) backends.push_back(std::make_unique<FakeBackend>(options));
  return backends;
}

}  // namespace rerankd
