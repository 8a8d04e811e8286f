// rerankd settings: every configuration key; the source of docs/settings.md.
#include <fmt/format.h>

#include "command.h"
#include "common.h"
#include "config/load.h"

namespace rerankd {

void AddSettings(CLI::App& app, Action* action) {
  auto config = std::make_shared<ConfigFlags>();
  auto markdown = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("settings", "the effective configuration as YAML, or the reference of all keys");
  command->footer("Example:\n  rerankd settings --set batching.enabled=true");
  command->add_flag("--markdown", *markdown, "the reference page (docs/settings.md) instead");
  config->AddTo(*command, {"model.", "server.", "scheduler."});
  command->callback([config, markdown, action] {
    *action = [config, markdown] {
      if (*markdown) {
        fmt::print("{}", SettingsMarkdown());
        return 0;
      }
      const auto settings = config->Load();
      if (!settings.ok()) return Fail(settings.status());
      fmt::print("{}", DumpSettings(*settings));
      return 0;
    };
  });
}

}  // namespace rerankd
