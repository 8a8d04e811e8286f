// rerankd pull, rerankd models: Hugging Face models in the local cache.
#include <fmt/format.h>

#include "base/log.h"
#include "base/text.h"
#include "command.h"
#include "common.h"
#include "engine/model_source.h"

namespace rerankd {

void AddPull(CLI::App& app, Action* action) {
  auto model = std::make_shared<std::string>();
  auto use = std::make_shared<ModelUse>();
  auto quiet = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("pull", "download a model into the Hugging Face cache; prints its folder");
  command->footer("Example:\n  rerankd pull cross-encoder/ms-marco-MiniLM-L-6-v2");
  command->add_option("model", *model, "ORG/NAME[@REVISION]")->required();
  command->add_option("--backend", use->backend, "with the file that the repository has for this backend")
      ->check(CLI::IsMember({"onnx", "tensorrt", "openvino"}));
  command->add_option("--precision", use->precision, "of that file [fp32]")
      ->check(CLI::IsMember({"auto", "fp32", "fp16", "bf16", "int8", "int4"}));
  command->add_flag("--quiet", *quiet, "no progress bar");
  command->callback([model, use, quiet, action] {
    *action = [model, use, quiet] {
      const auto folder = PullModel(*model, {*use}, DownloadBar(!*quiet));
      if (!folder.ok()) return Fail(folder.status());
      if (const std::vector<std::string> absent = AbsentFiles(*use, *folder); !absent.empty())
        Log(LogLevel::kWarning, *model + " has none of " + Join(absent, ", ") + ": backend " + use->backend +
                                    " runs its weights, if it can in this precision");
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
