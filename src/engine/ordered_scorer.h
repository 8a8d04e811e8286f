// Scores requests with a bounded number in flight and hands the results back in submission order.
#pragma once

#include <deque>
#include <functional>
#include <future>

#include "base/status.h"
#include "core/request.h"
#include "engine/engine.h"

namespace rerankd {

// One thread. The engine outlives it and answers all that was pushed, even if Finish is never called.
class OrderedScorer {
 public:
  using Sink = std::function<Status(ScoreResult)>;
  static constexpr size_t kInFlight = 4;  // keeps every worker busy across request boundaries

  OrderedScorer(Engine& engine, Sink sink, size_t in_flight = kInFlight)
      : engine_(engine), sink_(std::move(sink)), in_flight_(in_flight) {}
  Status Push(ScoreRequest request);  // waits while that many requests are unanswered
  Status Finish();                    // waits for the rest

 private:
  Status TakeOldest();

  Engine& engine_;
  const Sink sink_;
  const size_t in_flight_;
  std::deque<std::future<Result<ScoreResult>>> pending_;
};

}  // namespace rerankd
