// A sound plugin without an engine: the double of backends/fake behind the plugin interface.
// DOUBLE_BATCH_TOKENS tells one from another.
#include "backends/fake/fake_backend.h"
#include "backends/plugin.h"
#include "weights/model_config.h"

namespace {

using namespace rerankd;

class FakePlugin final : public Plugin {
 public:
  PluginDescription Describe(const std::string&) override { return {"double", {"cpu"}, "", ""}; }

  Result<std::vector<std::unique_ptr<Backend>>> Make(const PluginRequest& request) override {
    RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(request.directory));
    FakeOptions options;
    options.num_labels = config.num_labels;
    options.batch_tokens = DOUBLE_BATCH_TOKENS;
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < request.workers; ++i) backends.push_back(std::make_unique<FakeBackend>(options));
    return backends;
  }
};

}  // namespace

RERANKD_PLUGIN(FakePlugin)
