// From the scores of rows to what the client of a request gets.
#pragma once

#include "base/clock.h"
#include "base/status.h"
#include "core/request.h"
#include "scheduler/caches.h"
#include "scheduler/job.h"

namespace rerankd {

// Takes the result out of a job that finished well: pools windows (of each label the maximum), gives every
// document the scores of its unit, fills in counts and timings. kInternal if a score is not finite. What was
// computed goes into `cache` if there is one.
Result<ScoreResult> TakeResult(Job* job, TimePoint now, SharedCache<CachedScore>* cache = nullptr);

}  // namespace rerankd
