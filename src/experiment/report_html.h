// Reports for the eye: one self-contained page an experiment, and one over all results of a folder. Pure
// functions of records; no script, nothing from the network.
#pragma once

#include <string>
#include <vector>

#include "experiment/record.h"

namespace rerankd::experiment {

std::string HtmlReport(const ExperimentRecord& record);

// `records` in the order wanted; the pages link to each other as files of one folder.
std::string HtmlIndex(const std::vector<ExperimentRecord>& records);

// A page with our style sheet.
std::string HtmlPage(const std::string& title, const std::string& body);

}  // namespace rerankd::experiment
