#include "engine/backend_registry.h"

#include "backends/fake/fake_backend.h"
#include "backends/native/native_backend.h"
#include "base/text.h"
#include "engine/engine.h"
#include "kernels/dispatch.h"

namespace rerankd {
namespace {

// Backends that rerankd knows but that this build has no adapter for.
const std::vector<std::string>& AbsentBackends() {
  static const std::vector<std::string> names = {"pytorch", "mps",      "cuda",     "compiled",
                                                 "onnx",    "tensorrt", "openvino", "mlx"};
  return names;
}

std::string WhatThereIs() {
  std::vector<std::string> names;
  for (const BackendDescription& backend : AvailableBackends())
    names.push_back(backend.name + " (" + Join(backend.devices, ", ") + ")");
  return "this build has " + Join(names, ", ") + "; --set model.backend=native runs everywhere";
}

Status UnknownBackend(const std::string& name) {
  std::vector<std::string> known = AbsentBackends();
  for (const std::string& absent : known)
    if (absent == name)
      return FailedPrecondition("backend '" + name + "' is not in this build: " + WhatThereIs());
  for (const BackendDescription& backend : AvailableBackends()) known.push_back(backend.name);
  return InvalidArgument("unknown backend '" + name + "'" + Hint(name, known) + ": " + WhatThereIs());
}

}  // namespace

std::vector<BackendDescription> AvailableBackends() {
  const auto kernels = ChooseKernelsFromEnvironment();
  return {{"native", {"cpu"}, kernels.ok() ? std::string((*kernels)->name) : kernels.status().message()},
          {"fake", {"cpu"}, "for tests: scores mean nothing"}};
}

Result<BackendRegistry::Backends> BackendRegistry::Make(const BackendRequest& request) {
  if (request.settings.backend == "native") return MakeNative(request);
  if (request.settings.backend == "fake") return MakeFake(request);
  return UnknownBackend(request.settings.backend);
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
