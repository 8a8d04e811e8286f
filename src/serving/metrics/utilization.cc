#include "serving/metrics/utilization.h"

#include <algorithm>

namespace rerankd::serving {

void UtilizationMeter::Sample(TimePoint now, const std::vector<WorkerStats>& workers) {
  Reading reading;
  reading.at = now;
  for (const WorkerStats& worker : workers) {
    Totals& totals = reading.instances[worker.instance];
    totals.busy_ms += worker.busy_ms;
    ++totals.workers;
  }
  std::lock_guard lock(mutex_);
  readings_.push_back(std::move(reading));
  if (readings_.size() > kKept) readings_.pop_front();
}

std::map<int, double> UtilizationMeter::Read() const {
  std::lock_guard lock(mutex_);
  std::map<int, double> shares;
  if (readings_.size() < 2) return shares;
  const double wall_ms = ToMs(readings_.back().at - readings_.front().at);
  for (const auto& [instance, latest] : readings_.back().instances) {
    const auto first = readings_.front().instances.find(instance);
    if (first == readings_.front().instances.end() || wall_ms <= 0) continue;
    const double busy_ms = latest.busy_ms - first->second.busy_ms;
    shares[instance] = std::clamp(busy_ms / (wall_ms * latest.workers), 0.0, 1.0);
  }
  return shares;
}

}  // namespace rerankd::serving
