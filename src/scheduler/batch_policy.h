// Which pairs form the next micro-batch: a pure function of the fair queue, the budget, the backend's cost
// model and the time.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "scheduler/fair_queue.h"
#include "scheduler/job.h"

namespace rerankd {

struct BatchLimits {
  int64_t budget = 256;  // cost units: padded ? rows * longest : sum of lengths
  int max_rows = 0;      // 0 = no limit
  bool padded = false;
};

struct BudgetView {
  int64_t batch_tokens = 256;  // preferred size
  bool padded = false;
  int64_t backlog = 0;          // tokens to share out: of new flows if any wait, else all that is not running
  int workers = 1;              // that share the backlog
  double units_per_second = 0;  // of one worker; 0 = not measured yet
  double max_quantum_ms = 20;   // work in one dispatch to a padded backend
};

// Unpadded: backlog / workers, at least a quarter of batch_tokens and at most all of it, so that a small
// request uses all workers and the end of a large one leaves none of them idle for long.
// Padded: batch_tokens, at most max_quantum_ms of work at the measured speed, at least an eighth of it.
int64_t BatchBudget(const BudgetView& view);

// Cost of a batch of `rows` pairs.
inline int64_t BatchCost(bool padded, int rows, int64_t tokens, int longest) {
  return padded ? int64_t{longest} * rows : tokens;
}

// Moves pairs from `queue` into `batch` in fair order until the next one would exceed the limits; an empty
// batch takes one pair whatever its size. Unpadded, a batch that begins with new flows takes no pairs of old
// ones: they would only delay it. Returns null when done; or a job that lapsed by `now` and whose turn it is:
// close it in the queue, then call again.
Job* TakeBatch(const BatchLimits& limits, TimePoint now, FairQueue* queue, MicroBatch* batch);

}  // namespace rerankd
