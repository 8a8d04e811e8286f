// rerankd inspect: this machine, this build, this model, and what would run.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "command.h"
#include "common.h"

namespace rerankd {
namespace {

struct InspectFlags {
  ConfigFlags config;
  bool json = false;
};

nlohmann::ordered_json DescribeMachine() {
  const CpuInfo& cpu = GetCpuInfo();
  return {{"cpu", cpu.model},
          {"logical_cpus", cpu.logical_cpus},
          {"physical_cores", cpu.physical_cores},
          {"cpu_quota", cpu.quota_cpus > 0 ? nlohmann::ordered_json(cpu.quota_cpus) : nullptr},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes}};
}

nlohmann::ordered_json DescribeBackends() {
  auto backends = nlohmann::ordered_json::array();
  for (const BackendDescription& backend : AvailableBackends()) {
    nlohmann::ordered_json entry = {{"name", backend.name},
                                    {"state", backend.missing.empty() ? "ready"
                                              : backend.broken        ? "broken"
                                                                      : "missing"},
                                    {"devices", backend.devices},
                                    {"details", backend.details}};
    if (!backend.missing.empty()) {
      entry["missing"] = backend.missing;
      entry["get"] = backend.get;
    }
    backends.push_back(std::move(entry));
  }
  return backends;
}

nlohmann::ordered_json DescribeModel(const Engine& engine) {
  const ModelInfo& model = engine.model();
  nlohmann::ordered_json json = {{"name", model.name},
                                 {"directory", model.directory},
                                 {"max_length", model.max_length},
                                 {"num_labels", model.num_labels},
                                 {"labels", model.labels},
                                 {"activation", ActivationName(model.activation)},
                                 {"vocab_size", engine.tokenizer().vocab_size()}};
  for (const InstanceInfo& instance : engine.instances())
    json["instances"].push_back({{"name", instance.name},
                                 {"backend", instance.caps.name},
                                 {"device", instance.caps.device},
                                 {"precision", instance.caps.precision},
                                 {"details", instance.caps.details},
                                 {"workers", instance.workers},
                                 {"batch_tokens", instance.caps.batch_tokens}});
  return json;
}

// "section.key  value" lines: the same content as the JSON.
void PrintFlat(const nlohmann::ordered_json& json, const std::string& prefix) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_structured() && !value.empty() && (value.is_object() || value.front().is_structured())) {
      PrintFlat(value, name);
    } else {
      fmt::print("{:<36} {}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

// What is here is shown even if the model that was asked for cannot run on it.
Status RunInspect(const InspectFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(Settings settings, flags.config.Load());
  const auto engine = StartEmbedded(std::move(settings));
  nlohmann::ordered_json json = {
      {"version", RERANKD_VERSION}, {"machine", DescribeMachine()}, {"backends", DescribeBackends()}};
  if (engine.ok()) {
    json["model"] = DescribeModel(**engine);
  } else {
    json["error"] = engine.status().message();
  }
  json["resident_bytes"] = ResidentBytes();
  if (flags.json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    PrintFlat(json, "");
  }
  std::fflush(stdout);  // before the error
  return engine.status();
}

}  // namespace

void AddInspect(CLI::App& app, Action* action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command =
      app.add_subcommand("inspect", "the machine, the backends of this build, the model, what runs");
  command->footer("Example:\n  rerankd inspect --model tiny --json");
  command->add_flag("--json", flags->json, "JSON instead of lines");
  flags->config.AddTo(*command, {"model."});
  command->callback([flags, action] { *action = [flags] { return ExitCode(RunInspect(*flags)); }; });
}

}  // namespace rerankd
