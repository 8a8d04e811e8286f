// One HTTP GET. Blocking.
#pragma once

#include <string>

#include "base/status.h"

namespace rerankd::experiment {

// The body of a 200 answer. kUnavailable: no answer within `timeout_ms`, or another status code.
Result<std::string> HttpGet(const std::string& url, int timeout_ms);

}  // namespace rerankd::experiment
