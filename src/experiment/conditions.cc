#include "experiment/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "config/yaml_tree.h"
#include "experiment/environment.h"
#include "load/machine_speed.h"
#include "load/spread.h"

namespace rerankd::experiment {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNotRecorded = "not recorded";

// Titles; what names the cells and runs that are compared; paths of what is compared by its hash.
const std::set<std::string_view> kOtherwiseCompared = {"name",
                                                       "description",
                                                       "model.name",
                                                       "experiment.batch_sizes",
                                                       "experiment.concurrency_levels",
                                                       "experiment.rates",
                                                       "experiment.targets",
                                                       "experiment.dataset",
                                                       "experiment.quality.data"};

// People know the settings of an only instance as those of the model.
std::string NameOf(const std::string& path, bool one_instance) {
  constexpr std::string_view kFirst = "model_pool.instances[0].";
  return one_instance && path.starts_with(kFirst) ? "model." + path.substr(kFirst.size()) : path;
}

void AddSettings(const RunRecord& run, std::vector<Condition>* conditions) {
  const auto tree = ParseYamlTree(run.configuration, "configuration");
  if (!tree.ok()) return;  // of another program
  const bool one_instance = std::none_of(tree->begin(), tree->end(), [](const ConfigEntry& entry) {
    return entry.path.starts_with("model_pool.instances[1].");
  });
  for (const ConfigEntry& entry : *tree) {
    const std::string name = NameOf(entry.path, one_instance);
    if (kOtherwiseCompared.contains(name)) continue;
    conditions->push_back({run.label, name, fmt::format("{}", fmt::join(entry.value.items, ", "))});
  }
}

void AddRun(const RunRecord& run, std::vector<Condition>* conditions) {
  const auto add = [&](const char* name, std::string value) {
    if (!value.empty()) conditions->push_back({run.label, name, std::move(value)});
  };
  add("data set", fmt::format("{} pairs, sha256 {}", run.dataset.pairs, run.dataset.sha256));
  add("model", run.model);
  add("model files", run.model_sha256.empty() ? "" : "sha256 " + run.model_sha256);
  add("instances", fmt::format("{}", fmt::join(run.instances, "; ")));
  if (run.quality)
    add("ranked data",
        fmt::format("{}, {} queries, {} pairs", run.quality->data, run.quality->queries, run.quality->pairs));
  AddSettings(run, conditions);
}

// Every single value below `j`, numbers only where asked for.
void AddValues(const Json& j, const std::string& path, bool numbers, std::vector<Condition>* conditions) {
  if (j.is_structured()) {
    for (const auto& item : j.items())
      AddValues(item.value(), path.empty() ? item.key() : path + "." + item.key(), numbers, conditions);
  } else if (j.is_string()) {
    conditions->push_back({"", path, j.get<std::string>()});
  } else if (j.is_boolean() || (numbers && j.is_number())) {
    conditions->push_back({"", path, j.dump()});
  }
}

void AddValuesOf(const Json& j, std::initializer_list<const char*> keys, std::vector<Condition>* conditions) {
  for (const char* key : keys)
    if (const auto found = j.find(key); found != j.end()) AddValues(*found, key, true, conditions);
}

// By its content: a copy of a file is the same data.
void AddData(const Json& load, std::vector<Condition>* conditions) {
  const Json data = load.value("data", Json::object());
  for (const char* key : {"pairs", "sha256"})
    if (data.contains(key)) AddValues(data[key], std::string("data.") + key, true, conditions);
}

const std::string* ValueIn(const ComparedResult& result, const Condition& like) {
  for (const Condition& c : result.conditions)
    if (c.scope == like.scope && c.name == like.name) return &c.value;
  return nullptr;
}

bool HasScope(const ComparedResult& result, const std::string& scope) {
  return std::any_of(result.conditions.begin(), result.conditions.end(),
                     [&](const Condition& c) { return c.scope == scope; });
}

// A difference that several runs of a sweep share is told once.
void AddDifference(const Condition& of, const std::string* a, const std::string* b,
                   std::vector<Difference>* differences) {
  Difference difference{of.name, of.scope, a ? *a : kNotRecorded, b ? *b : kNotRecorded};
  for (Difference& known : *differences) {
    if (known.name != difference.name || known.a != difference.a || known.b != difference.b) continue;
    known.runs += ", " + difference.runs;
    return;
  }
  differences->push_back(std::move(difference));
}

void AddSpeed(const ComparedResult& a, const ComparedResult& b, std::vector<Difference>* differences) {
  const double change = load::SpeedChange({a.step_ns, 0}, {b.step_ns, 0});
  if (std::abs(change) <= load::kSpeedTolerance) return;
  differences->push_back({"speed of the machine", "",
                          fmt::format("{:.3f} ns for a fixed step of work", a.step_ns),
                          fmt::format("{:.3f} ns, {:.0f} % {}", b.step_ns, std::abs(100 * change),
                                      change > 0 ? "faster" : "slower")});
}

}  // namespace

std::vector<Condition> ConditionsOf(const ExperimentRecord& record) {
  std::vector<Condition> conditions = {{"", "completeness", record.partial ? "PARTIAL" : "complete"}};
  for (const auto& [name, value] : record.environment)
    if (!IsOfTheMoment(name)) conditions.push_back({"", name, value});
  for (const RunRecord& run : record.runs) AddRun(run, &conditions);
  return conditions;
}

double StepOf(const ExperimentRecord& record) {
  std::vector<double> steps;
  for (const RunRecord& run : record.runs)
    for (const CellRecord& cell : run.cells)
      for (const RepeatRecord& repeat : cell.repeats)
        for (const load::MachineSpeed& speed : {repeat.before, repeat.after})
          if (speed.step_ns > 0) steps.push_back(speed.step_ns);
  return steps.empty() ? -1 : load::Median(std::move(steps));
}

std::vector<Condition> ConditionsOfLoad(const Json& load) {
  std::vector<Condition> conditions;
  AddValuesOf(load, {"partial", "protocol", "model", "load", "machine"}, &conditions);
  AddData(load, &conditions);
  return conditions;
}

double StepOfLoad(const Json& load) {
  const Json speed = load.value("machine_speed", Json::object());
  const double before = speed.value("step_ns_before", -1.0), after = speed.value("step_ns_after", -1.0);
  return before > 0 && after > 0 ? (before + after) / 2 : -1;
}

std::vector<Condition> ConditionsOfMaxRate(const Json& search) {
  std::vector<Condition> conditions;
  AddValuesOf(search, {"partial", "protocol", "arrivals", "docs_per_request", "slo"}, &conditions);
  const auto best = search.find("best");
  if (best == search.end() || !best->is_object()) return conditions;
  AddValuesOf(*best, {"machine"}, &conditions);
  AddData(*best, &conditions);
  return conditions;
}

std::vector<Condition> ConditionsOfTexts(const Json& json) {
  std::vector<Condition> conditions;
  AddValues(json, "", false, &conditions);
  std::erase_if(conditions, [](const Condition& c) {
    return IsOfTheMoment(std::string_view(c.name).substr(c.name.rfind('.') + 1));
  });
  return conditions;
}

std::vector<Difference> DifferencesOf(const ComparedResult& a, const ComparedResult& b) {
  std::vector<Difference> differences;
  for (const Condition& c : a.conditions) {
    const std::string* other = ValueIn(b, c);
    if (HasScope(b, c.scope) && (other == nullptr || *other != c.value))
      AddDifference(c, &c.value, other, &differences);
  }
  for (const Condition& c : b.conditions)
    if (HasScope(a, c.scope) && ValueIn(a, c) == nullptr) AddDifference(c, nullptr, &c.value, &differences);
  AddSpeed(a, b, &differences);
  return differences;
}

}  // namespace rerankd::experiment
