// The reference system's Prometheus series under their own names (metrics.reference_names), by its
// definitions: request_count_total counts pairs, padding is what padding a request to its longest pair would
// add. What has no counterpart here, docs/metrics.md says. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/stats.h"
#include "serving/metrics/families.h"
#include "serving/metrics/prometheus.h"
#include "serving/metrics/reference_metrics.h"

namespace rerankd::serving {

class ReferencePrometheus {
 public:
  ReferencePrometheus();
  ~ReferencePrometheus();

  void Observe(const RequestRecord& record);
  // What is counted by Observe.
  std::vector<prometheus::MetricFamily> Collect() const;
  // What lives elsewhere.
  void AddLive(const ReferenceState& state, const EngineStats& engine, Families* out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::serving
