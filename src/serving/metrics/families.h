// Metric families made at scrape time from values that live elsewhere.
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/stats.h"

namespace rerankd::serving {

using MetricLabels = std::map<std::string, std::string>;

class Families {
 public:
  // One family with one point.
  void Counter(const char* name, const char* help, double value, const MetricLabels& labels) {
    Begin(prometheus::MetricType::Counter, name, help);
    Point(value, labels);
  }
  void Gauge(const char* name, const char* help, double value, const MetricLabels& labels) {
    Begin(prometheus::MetricType::Gauge, name, help);
    Point(value, labels);
  }

  // A family, then its points.
  void Begin(prometheus::MetricType type, const char* name, const char* help) {
    families_.push_back({name, help, type, {}});
  }
  void Point(double value, const MetricLabels& labels) {
    prometheus::ClientMetric& metric = NewMetric(labels);
    metric.counter.value = metric.gauge.value = value;
  }
  template <size_t N>
  void Histogram(const std::array<double, N>& bounds, const BucketCounts<N>& values,
                 const MetricLabels& labels) {
    prometheus::ClientMetric::Histogram& histogram = NewMetric(labels).histogram;
    for (size_t i = 0; i <= N; ++i) {
      histogram.sample_count += static_cast<uint64_t>(values.counts[i]);
      if (i < N) histogram.bucket.push_back({histogram.sample_count, bounds[i]});
    }
    histogram.sample_sum = values.sum;
  }

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::ClientMetric& NewMetric(const MetricLabels& labels) {
    prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
    for (const auto& [key, text] : labels) metric.label.push_back({key, text});
    return metric;
  }

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace rerankd::serving
