// The port between a load and a target: send a request, be told how it ended. Implementations:
// http_client.h, grpc_client.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "load/workload.h"

namespace rerankd::load {

enum class Outcome {
  kOk,
  kRefused,      // 429, RESOURCE_EXHAUSTED: the target says that it is full
  kTimeout,      // no whole reply in time, or the target's own 504, DEADLINE_EXCEEDED
  kUnreachable,  // no connection, or it broke before the whole reply was there
  kError,        // any other status than success
  kGarbage,      // success, but not what the protocol says
  kWrongCount,   // success with fewer or more scores than documents
  kNotFinite,    // success with a score that is NaN or infinite
};
inline constexpr int kOutcomes = 8;
const char* OutcomeName(Outcome outcome);  // "ok", "refused", "wrong number of scores" …

struct Reply {
  Outcome outcome = Outcome::kOk;
  int status = 0;                                             // HTTP status or gRPC code; 0 = there was none
  std::string detail;                                         // what is wrong; empty when kOk
  std::vector<float> scores;                                  // when kOk, in the order of the documents
  double retry_after_s = -1;                                  // as the target says; negative = it does not
  double queue_ms = -1, tokenize_ms = -1, inference_ms = -1;  // as the target says; negative = it does not
  TimePoint received;                                         // when the last byte was there
};

class Client {
 public:
  using Done = std::function<void(Reply)>;
  virtual ~Client() = default;

  // Starts a request. `done` is called exactly once, from within RunUntil or on a thread of the client's own,
  // never from within Send. `done` may call Send and Wake.
  virtual void Send(const Work& work, Done done) = 0;
  // Lets replies arrive until `when`, or until Wake(). For one thread.
  virtual void RunUntil(TimePoint when) = 0;
  virtual void Wake() = 0;
};

}  // namespace rerankd::load
