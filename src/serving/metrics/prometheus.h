// The rerankd_... series of /metrics. Never reset. Thread-safe; Observe takes a few locks per request, none
// per pair.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/request.h"
#include "engine/engine.h"
#include "serving/metrics/reference_metrics.h"

namespace rerankd::serving {

struct LiveState {
  int64_t in_flight = 0;       // requests admitted by the servers, not answered
  int64_t resident_bytes = 0;  // of this process
  EngineStats engine;
};

class PrometheusMetrics {
 public:
  explicit PrometheusMetrics(const Engine& engine);
  ~PrometheusMetrics();

  // `route` comes from a fixed set: "grpc:Infer" or a path pattern.
  void Observe(std::string_view route, const RequestRecord& record, std::span<const int32_t> tokens);
  void ObserveFailure(std::string_view route, Code code);
  // Text exposition format 0.0.4.
  std::string Text(const LiveState& state) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::serving
