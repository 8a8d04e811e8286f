// The families of /metrics that are totals of the engine, of its caches, workers and instances.
#pragma once

#include <map>

#include "engine/engine.h"
#include "serving/metrics/families.h"

namespace rerankd::serving {

// `utilization`: instance -> busy share (utilization.h).
void AddEngineFamilies(const Engine& engine, const EngineStats& stats,
                       const std::map<int, double>& utilization, Families* out);

}  // namespace rerankd::serving
