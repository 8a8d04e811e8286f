// `rerankd load`: one load, or a search for the highest rate, against one target; from options to result.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "load/capacity.h"
#include "load/generator.h"
#include "load/ideal.h"
#include "load/machine_speed.h"
#include "load/summary.h"
#include "load/target.h"
#include "load/warm_up.h"

namespace rerankd::load {

struct LoadOptions {
  Target target;
  std::string data = "bundled";  // as LoadDataset takes it
  int64_t data_limit = 1'000'000;
  int documents = 1;                 // of a request
  int concurrency = 1;               // closed loop
  std::optional<double> rate;        // requests/s: open loop
  std::optional<double> rate_share;  // open loop at this share of the measured capacity; sets no `rate`
  std::string arrivals = "poisson";  // or "constant"
  uint64_t seed = 1;
  std::string replay;               // a request log: open loop with its requests and times
  std::optional<int64_t> requests;  // whichever of the two comes first; 10 s if neither is given
  std::optional<double> duration_s;
  int max_in_flight = 4096;  // open loop
  double warm_up_s = 10;     // longest; 0: only one request
  double slo_ms = 0;         // 0 = none
  std::string scenario;      // as it was named; empty = none
  int repeats = 1;           // of the load, each with arrivals of its own
  bool ideal = false;        // compare an open loop with an ideal server
  std::string log;           // request log to write
  int server_pid = 0;        // of a local target, whose CPU time is measured; 0 = none
};

struct ServerUsage {
  double cpu_s = -1;  // negative = not known
  int64_t resident_before = -1, resident_after = -1;
};

// One of several runs of the same load.
struct LoadRepeat {
  double seconds = 0, requests_per_s = 0, pairs_per_s = 0, goodput_requests_per_s = 0;
  double p50_ms = 0, p99_ms = 0;
  MachineSpeed speed_before, speed_after;
};

// Of all repeats together, one after another.
struct LoadResult {
  std::string mode;  // "closed", "open, poisson", "open, replay"
  std::string dataset_name, dataset_sha256;
  int64_t dataset_pairs = 0;
  WarmUpResult warm_up;
  LoadStats stats;
  Summary summary{0};
  ServerUsage server;
  double rate = 0;        // open loop: requests/s that were wanted; 0 = of a replay
  uint64_t seed = 1;      // of the arrivals
  std::string log_fault;  // why the request log is incomplete; empty: it is not
  std::optional<Capacity> capacity;
  std::optional<IdealComparison> ideal;
  MachineSpeed speed_before, speed_after;
  std::vector<LoadRepeat> repeats;  // at least one
  bool interrupted = false;
};

// kInvalidArgument: the options cannot be; kUnavailable: the target does not answer.
Result<LoadResult> MeasureLoad(const LoadOptions& options, const std::atomic<bool>& interrupt,
                               const Progress& progress);

struct RateTrial {
  double rate = 0;  // requests/s
  bool met = false;
  bool cut = false;  // ended early: too many requests had missed the limit already
  int64_t sent = 0, ok = 0;
  double p50_ms = 0, p99_ms = 0;   // of the requests that ended well
  double within = 0;               // share of all requests that ended well within the limit
  double timing_error_p99_ms = 0;  // of the generator
};

struct MaxRateResult {
  Capacity capacity;
  std::vector<RateTrial> trials;   // in the order in which they were run
  double rate = 0;                 // the highest that keeps the limit; 0 = none was found
  bool confirmed = false;          // in two trials
  std::optional<LoadResult> best;  // the last trial that kept the limit at `rate`
  bool interrupted = false;
};

// `options.slo_ms` is the limit; `options.duration_s` the length of a trial, which sends at least 100
// requests. `report` is called after each trial. Errors as those of MeasureLoad.
Result<MaxRateResult> FindMaxRate(const LoadOptions& options, const std::atomic<bool>& interrupt,
                                  const std::function<void(const RateTrial&)>& report);

}  // namespace rerankd::load
