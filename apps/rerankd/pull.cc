// rerankd pull, rerankd models: Hugging Face models in the local cache.
#include <fmt/format.h>

#include "command.h"
#include "common.h"
#include "engine/model_source.h"

namespace rerankd {

void AddPull(CLI::App& app, Action* action) {
  auto model = std::make_shared<std::string>();
  auto quiet = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("pull", "download a model into the Hugging Face cache; prints its folder");
  command->footer("Example:\n  rerankd pull cross-encoder/ms-marco-MiniLM-L-6-v2");
  command->add_option("model", *model, "ORG/NAME[@REVISION]")->required();
  command->add_flag("--quiet", *quiet, "no progress bar");
  command->callback([model, quiet, action] {
    *action = [model, quiet] {
      const auto folder = PullModel(*model, DownloadBar(!*quiet));
      if (!folder.ok()) return Fail(folder.status());
      fmt::print("{}\n", *folder);
      return 0;
    };
  });
}

void AddModels(CLI::App& app, Action* action) {
  CLI::App* command =
      app.add_subcommand("models", "models on this machine: bundled ones and those in the cache");
  command->footer("Example:\n  rerankd models");
  command->callback([action] {
    *action = [] {
      for (const LocalModel& model : LocalModels()) fmt::print("{:<48} {}\n", model.name, model.folder);
      return 0;
    };
  });
}

}  // namespace rerankd
