// Requests before the measured ones, until the target answers at a steady rate.
#pragma once

#include <atomic>
#include <span>

#include "base/status.h"
#include "load/client.h"
#include "load/workload.h"

namespace rerankd::load {

struct WarmUpSpec {
  int pairs = 1;  // of a request
  int in_flight = 1;
  double window_s = 0.5;  // a rate is taken over each
  double longest_s = 10;  // 0: only the first request
};

struct WarmUpResult {
  int64_t requests = 0;
  double seconds = 0;
  bool steady = false;
};

// Whether the last three rates are within 5 % of their mean.
bool IsSteady(std::span<const double> rates);

// kUnavailable: the first request failed, so that there is nothing to measure; says how.
Result<WarmUpResult> WarmUp(const WarmUpSpec& spec, int64_t dataset_pairs, Client& client,
                            const std::atomic<bool>& interrupt);

}  // namespace rerankd::load
