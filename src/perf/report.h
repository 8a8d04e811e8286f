// The report of a measurement: a table for people, JSON for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "perf/suite.h"

namespace rerankd::perf {

// Where and how it was measured, name and value in the order of the report: CPU, commit, command …
using Facts = std::vector<std::pair<std::string, std::string>>;

nlohmann::ordered_json ToJson(const SuiteResult& result, const Facts& facts);
std::string ToTable(const SuiteResult& result, const Facts& facts);

}  // namespace rerankd::perf
