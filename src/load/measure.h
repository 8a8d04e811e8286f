// `rerankd load`: one load against one target, from options to result.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "load/generator.h"
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
  std::string arrivals = "poisson";  // or "constant"
  uint64_t seed = 1;
  std::string replay;               // a request log: open loop with its requests and times
  std::optional<int64_t> requests;  // whichever of the two comes first; 10 s if neither is given
  std::optional<double> duration_s;
  int max_in_flight = 4096;  // open loop
  double warm_up_s = 10;     // longest; 0: only one request
  double slo_ms = 0;         // 0 = none
  std::string log;           // request log to write
  int server_pid = 0;        // of a local target, whose CPU time is measured; 0 = none
};

struct ServerUsage {
  double cpu_s = -1;  // negative = not known
  int64_t resident_before = -1, resident_after = -1;
};

struct LoadResult {
  std::string mode;  // "closed", "open, poisson", "open, replay"
  std::string dataset_name, dataset_sha256;
  int64_t dataset_pairs = 0;
  WarmUpResult warm_up;
  LoadStats stats;
  Summary summary{0};
  ServerUsage server;
  bool interrupted = false;
};

// kInvalidArgument: the options cannot be; kUnavailable: the target does not answer.
Result<LoadResult> MeasureLoad(const LoadOptions& options, const std::atomic<bool>& interrupt,
                               const Progress& progress);

}  // namespace rerankd::load
