#include "engine/backend_registry.h"

#include "backends/fake/fake_backend.h"
#include "backends/native/native_backend.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/plugin_loader.h"
#include "kernels/dispatch.h"

namespace rerankd {
namespace {

BackendDescription DescribePlugin(const PluginBackend& backend) {
  BackendDescription description{std::string(backend.name), {}, "", "", ""};
  const auto plugin = LoadPlugin(backend.plugin);
  if (!plugin.ok()) {
    description.missing = plugin.status().message();
    description.get = std::string(backend.get);
    return description;
  }
  PluginDescription found = (*plugin)->Describe(description.name);
  description.devices = std::move(found.devices);
  description.details = std::move(found.details);
  description.missing = std::move(found.missing);
  description.get = std::move(found.get);
  return description;
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
      {"native", {"cpu"}, kernels.ok() ? std::string((*kernels)->name) : kernels.status().message(), "", ""},
      {"fake", {"cpu"}, "for tests: scores mean nothing", "", ""}};
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
  return (*plugin)->Make({settings.backend, device, settings.precision, settings.compile_mode,
                          settings.group_size, request.directory, request.workers});
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
