// The reports of an experiment. Pure functions of its record, so that they can be written anew from raw data.
#pragma once

#include <string>

#include "experiment/record.h"

namespace rerankd::experiment {

// Markdown: the sections of the reference system exactly, then ours; runs of a sweep separated by "---".
std::string MarkdownReport(const ExperimentRecord& record);

// One line a request.
std::string CsvReport(const ExperimentRecord& record);

// Our sections of one run (report_own.cc).
std::string OwnSections(const ExperimentRecord& record, const RunRecord& run, const ServerMetrics& metrics);

}  // namespace rerankd::experiment
