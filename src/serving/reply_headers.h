// What every scored reply says about itself: HTTP headers, and gRPC trailing metadata under the same names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "serving/score_service.h"

namespace rerankd::serving {

using Headers = std::vector<std::pair<std::string, std::string>>;  // lower-case names

// x-queue-time, x-tokenization-time, x-inference-time, x-total-time in whole milliseconds, x-compute-tokens,
// x-truncated-documents; x-compute-time (= x-total-time), x-compute-type and x-compute-characters, which
// text-embeddings-inference has; and server-timing with the times in fractions of a millisecond.
Headers ScoredReplyHeaders(const Answer& answer);

}  // namespace rerankd::serving
