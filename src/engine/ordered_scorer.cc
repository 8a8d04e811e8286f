#include "engine/ordered_scorer.h"

#include <memory>
#include <utility>

namespace rerankd {

Status OrderedScorer::Push(ScoreRequest request) {
  if (pending_.size() >= in_flight_) RERANKD_RETURN_IF_ERROR(TakeOldest());
  auto promise = std::make_shared<std::promise<Result<ScoreResult>>>();
  pending_.push_back(promise->get_future());
  const Status status = engine_.Submit(
      std::move(request), [promise](Result<ScoreResult> result) { promise->set_value(std::move(result)); });
  if (!status.ok()) pending_.pop_back();
  return status;
}

Status OrderedScorer::TakeOldest() {
  Result<ScoreResult> result = pending_.front().get();
  pending_.pop_front();
  if (!result.ok()) return result.status();
  return sink_(std::move(*result));
}

Status OrderedScorer::Finish() {
  while (!pending_.empty()) RERANKD_RETURN_IF_ERROR(TakeOldest());
  return {};
}

}  // namespace rerankd
