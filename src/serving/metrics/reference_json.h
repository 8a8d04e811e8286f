// The JSON that the reference system's /metrics answers, key for key, with our own values under "rerankd";
// and what the dashboard is fed with, which is the same with more about the instances.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serving/metrics/reference_metrics.h"

namespace rerankd::serving {

struct ServerIdentity {
  std::string experiment_name, experiment_description;
  std::string backend_type, device;  // of the first instance
  std::string pipeline_mode;
  std::string model;
  std::vector<std::string> models;  // names, by InstanceInfo::model
  std::vector<InstanceInfo> instances;
};

// Indented by 2. Before the first request only the identity, is_running, query_count, the system values and
// the (empty) history are there.
std::string ReferenceJson(const ServerIdentity& identity, const MetricsSnapshot& metrics,
                          const EngineStats& engine);

// On one line: all keys of ReferenceJson but the history, "rerankd" even before the first request, and
// "server": model, version, instances with their busy time, requests in flight.
std::string DashboardJson(const ServerIdentity& identity, const MetricsSnapshot& metrics,
                          const EngineStats& engine, int64_t in_flight);
// On one line: the history's columns, at most the latest `points` rows.
std::string DashboardHistoryJson(const MetricsSnapshot& metrics, size_t points);

}  // namespace rerankd::serving
