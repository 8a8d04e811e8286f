// Backends by name: the one place that knows which this build has and how they are made.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "core/backend.h"
#include "weights/model_config.h"

namespace rerankd {

class NativeModel;

struct BackendRequest {
  const InstanceSettings& settings;
  const std::string& directory;  // of the model
  const ModelConfig& config;
  int workers = 1;
};

// Makes the backends of several instances; instances of one model and precision share its weights. One
// thread.
class BackendRegistry {
 public:
  // One backend for each worker (fewer on a device that serves one stream), not warmed up. kInvalidArgument
  // for an unknown name, kFailedPrecondition for a backend or device that this build or machine lacks: both
  // say what there is.
  Result<std::vector<std::unique_ptr<Backend>>> Make(const BackendRequest& request);

 private:
  using Backends = std::vector<std::unique_ptr<Backend>>;
  Result<Backends> MakeNative(const BackendRequest& request);
  Result<Backends> MakeFake(const BackendRequest& request);
  Result<Backends> MakeFromPlugin(const BackendRequest& request);

  std::map<std::pair<std::string, std::string>, std::shared_ptr<const NativeModel>> native_models_;
};

}  // namespace rerankd
