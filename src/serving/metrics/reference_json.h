// The JSON that the reference system's /metrics answers, key for key, with our own values under "rerankd".
#pragma once

#include <string>

#include "engine/engine.h"
#include "serving/metrics/reference_metrics.h"

namespace rerankd::serving {

struct ServerIdentity {
  std::string experiment_name, experiment_description;
  std::string backend_type, device;  // of the first instance
  std::string pipeline_mode;
};

// Indented by 2. Before the first request only the identity, is_running, query_count, the system values and
// the (empty) history are there.
std::string ReferenceJson(const ServerIdentity& identity, const MetricsSnapshot& metrics,
                          const EngineStats& engine);

}  // namespace rerankd::serving
