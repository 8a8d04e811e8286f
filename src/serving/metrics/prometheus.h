// The series of /metrics (docs/metrics.md lists them all). Never reset. Thread-safe; Observe takes a few
// locks per request, none per pair.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/request.h"
#include "engine/engine.h"
#include "serving/metrics/reference_metrics.h"

namespace rerankd::serving {

// What only the reference system's series need.
struct ReferenceState {
  double cpu_percent = 0;  // 100 = one core
  double memory_mb = 0;
  int64_t admitted = 0, completed = 0;  // requests since the start
};

struct LiveState {
  std::map<std::string, int64_t> in_flight;  // by model: requests admitted by the servers, not answered
  int64_t resident_bytes = 0;                // of this process
  double cpu_seconds = 0;                    // of this process since its start
  EngineStats engine;
  std::map<int, double> utilization;  // of instances
  ReferenceState reference;
};

class PrometheusMetrics {
 public:
  // `engine` outlives this. `reference_names`: the reference system's series too.
  PrometheusMetrics(const Engine& engine, bool reference_names);
  ~PrometheusMetrics();

  // `route` comes from a fixed set: "grpc:Infer" or a path pattern; `model` from the engine's.
  void Observe(std::string_view model, std::string_view route, const RequestRecord& record,
               std::span<const int32_t> tokens);
  void ObserveFailure(std::string_view model, std::string_view route, Code code);
  // Text exposition format 0.0.4.
  std::string Text(const LiveState& state) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::serving
