// Admission: one all-or-nothing decision per request, by time. Pure functions and one small meter; no clock,
// no lock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/status.h"
#include "core/request.h"

namespace rerankd {

// Tokens that `documents` of a settled request (overflow.h) are charged before they are tokenised:
// min(max_length, bytes / 4 + 3) a pair; in windows, the sum over the windows that bytes / 4 tokens need.
int64_t EstimateTokens(const ScoreRequest& request, std::span<const int32_t> documents);

// How fast work is done: units per second of busy time, as an average that forgets with a time constant of
// two busy seconds.
class RateMeter {
 public:
  void Add(int64_t units, Duration busy);
  double per_second() const { return seconds_ > 0 ? units_ / seconds_ : 0; }  // 0 until measured

 private:
  double units_ = 0, seconds_ = 0;
};

struct AdmissionLimits {
  double max_queue_ms = 30000;
  int64_t max_queue_tokens = 0;    // 0 = no limit
  int64_t max_queue_requests = 0;  // 0 = no limit
};

struct AdmissionView {
  int64_t queued_requests = 0;
  int64_t queued_tokens = 0;
  double wait_ms = 0;  // estimated; 0 before the first measurement
};

// Milliseconds until `tokens` are done at `tokens_per_second`; 0 while that is unknown.
double EstimatedWaitMs(int64_t tokens, double tokens_per_second);

// kResourceExhausted with retry advice when the request must wait longer than max_queue_ms or `time_left`, or
// when the queue is full; kInvalidArgument when `cost` alone is above max_queue_tokens.
Status CheckAdmission(const AdmissionLimits& limits, const AdmissionView& view, int64_t cost,
                      std::optional<Duration> time_left);

}  // namespace rerankd
