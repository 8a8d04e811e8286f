// The conditions that two results must share for their ratio to mean what it seems to.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "experiment/compared_result.h"
#include "experiment/record.h"

namespace rerankd::experiment {

std::vector<Condition> ConditionsOf(const ExperimentRecord& record);
double StepOf(const ExperimentRecord& record);

// Of `rerankd load`, and of its search for the highest rate.
std::vector<Condition> ConditionsOfLoad(const nlohmann::ordered_json& load);
double StepOfLoad(const nlohmann::ordered_json& load);
std::vector<Condition> ConditionsOfMaxRate(const nlohmann::ordered_json& search);

// Of any other JSON: each text and each yes or no, by its path.
std::vector<Condition> ConditionsOfTexts(const nlohmann::ordered_json& json);

// A condition that two results do not share.
struct Difference {
  std::string name;  // "CPU", "model.threads"
  std::string runs;  // of a sweep, those that differ: "_fp32, _int8"
  std::string a, b;  // the values; "not recorded" where a result does not tell
};
// Of runs that both hold.
std::vector<Difference> DifferencesOf(const ComparedResult& a, const ComparedResult& b);

}  // namespace rerankd::experiment
