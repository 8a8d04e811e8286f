// What `rerankd load` prints: JSON for programs (and `rerankd compare`), a table for people.
#pragma once

#include <string>
#include <vector>

#include "load/measure.h"

namespace rerankd::load {

std::string ResultToJson(const LoadOptions& options, const LoadResult& result);
std::string ResultTable(const LoadOptions& options, const LoadResult& result);

// What makes the numbers less than they seem: not warm, late sends, a full client, requests that failed.
std::vector<std::string> Warnings(const LoadOptions& options, const LoadResult& result);

// The SLO was given and the 99th percentile of latency meets it, every request counted: one that failed is
// slower than any limit.
bool MeetsSlo(const LoadResult& result);

std::string MaxRateToJson(const LoadOptions& options, const MaxRateResult& result);
std::string MaxRateTable(const LoadOptions& options, const MaxRateResult& result);
std::string TrialLine(const RateTrial& trial);  // for people who wait; without an end-of-line
std::vector<std::string> MaxRateWarnings(const MaxRateResult& result);

}  // namespace rerankd::load
