// How much a target answers when there is always something to do: the rate that shares ("80 %") refer to.
#pragma once

#include <atomic>
#include <cstdint>

#include "load/client.h"

namespace rerankd::load {

struct CapacitySpec {
  int pairs = 1;  // of a request
  int64_t dataset_pairs = 1;
  double step_s = 2;        // of each closed loop, at least; it sends kFewest requests for each in flight
  int most_in_flight = 64;  // the last step
};

struct Capacity {
  double requests_per_s = 0;  // answered well; 0: nothing was
  int in_flight = 0;          // of the closed loop that reached it
};

// Closed loops with 1, 2, 4 … requests in flight until one is not 5 % faster than the best before it, or
// requests fail.
Capacity MeasureCapacity(const CapacitySpec& spec, Client& client, const std::atomic<bool>& interrupt);

}  // namespace rerankd::load
