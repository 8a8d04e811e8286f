// Which requests a load sends, and when. Pure: the same seed gives the same times.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "base/clock.h"
#include "load/workload.h"

namespace rerankd::load {

struct Arrival {
  Duration at{};  // since the start of the load; a closed loop ignores it
  Work work;
};

// An endless or finite sequence, `at` never falling.
class Arrivals {
 public:
  virtual ~Arrivals() = default;
  virtual std::optional<Arrival> Next() = 0;
};

struct ArrivalSpec {
  int pairs = 1;                     // of a request
  int64_t dataset_pairs = 1;         // what Work::first wraps at
  std::optional<int64_t> requests;   // how many; nothing = endless
  std::optional<double> duration_s;  // none is due at or after this; nothing = endless
};

// All due at once: the requests of a closed loop.
std::unique_ptr<Arrivals> MakeImmediate(const ArrivalSpec& spec);
// Request i at i / rate seconds.
std::unique_ptr<Arrivals> MakeConstant(const ArrivalSpec& spec, double rate);
// A Poisson process: exponential gaps with mean 1 / rate seconds, the first before the first request.
std::unique_ptr<Arrivals> MakePoisson(const ArrivalSpec& spec, double rate, uint64_t seed);
// As given.
std::unique_ptr<Arrivals> MakeReplay(std::vector<Arrival> arrivals);

}  // namespace rerankd::load
