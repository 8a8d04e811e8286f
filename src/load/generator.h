// Sends a load through a Client and tells how each request ended.
//   Closed loop: a fixed number of requests in flight, the next one when one is answered.
//   Open loop: each request at its own time, whatever became of the ones before. Latency counts from that
//   intended time, so a target that stalls cannot hide what it does to requests that were due meanwhile
//   ("coordinated omission").
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "load/arrivals.h"
#include "load/client.h"

namespace rerankd::load {

// How one request went. Milliseconds since the load started; negative = not known.
struct Sample {
  Work work;
  double intended_ms = 0;  // when it was due; in a closed loop = sent_ms
  double sent_ms = 0;      // before its message was built
  double latency_ms = 0;   // from intended_ms until the whole reply was there
  Reply reply;
};

struct LoadPlan {
  bool open = false;
  int in_flight = 1;  // closed loop: how many; open loop: the bound, at which due requests wait
  std::optional<double> stop_after_s;  // nothing is sent later, keeping what is done
  bool stop_on_failure = false;        // the first request that fails ends the load
};

struct LoadStats {
  double seconds = 0;          // first send to last reply
  int64_t sent = 0, held = 0;  // held: sent late because `in_flight` requests were unanswered
  int peak_in_flight = 0;
  double client_cpu_s = 0, client_system_s = 0;  // of this process: all, and in the kernel
  bool cut = false;                              // stop_after_s ended it before its arrivals did
  int64_t clock_went_back = 0;  // readings below an earlier one; the earlier one was taken instead
  std::string lost;             // what the last said, where the last of all (ten or more) found no target
};

using Sink =
    std::function<void(const Sample&)>;  // one call a request, in order of replies, never two at once
using Progress = std::function<void(int64_t done, double seconds)>;  // about ten times a second

struct LoadHooks {
  Sink sink;
  Progress progress = [](int64_t, double) {};
  const Clock* clock = &SteadyClock::Get();  // the one that the client stamps replies with
};

// Runs until every request sent is answered. Once `interrupt` is set nothing more is sent.
LoadStats RunLoad(const LoadPlan& plan, Arrivals& arrivals, Client& client,
                  const std::atomic<bool>& interrupt, const LoadHooks& hooks);

}  // namespace rerankd::load
