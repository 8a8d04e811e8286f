// The tables of the HTML report of one run. Pure functions.
#pragma once

#include <string>

#include "experiment/record.h"

namespace rerankd::experiment {

std::string TableCell(const std::string& text);

// Two columns of text.
std::string NamedTable(const NamedValues& values);

// Throughput and latency of each cell, failed and skipped ones with their reason.
std::string SummaryTable(const RunRecord& run);

// Tokens a second, what padding wasted, share of the machine's peak; "" where the server told nothing of it.
std::string TokenSection(const RunRecord& run, const ServerMetrics& metrics);

// CPU time and memory of each cell, and the server's history of its CPU and device; "" without either.
std::string ResourceSection(const RunRecord& run, const ServerMetrics& metrics);

}  // namespace rerankd::experiment
