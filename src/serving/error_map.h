// The one table from our error codes to what HTTP and gRPC clients see.
#pragma once

#include <string_view>

#include "base/status.h"

namespace rerankd::serving {

int HttpStatus(Code code);
int GrpcStatus(Code code);  // the number of grpc::StatusCode

// TEI's `error_type` of a code: "Validation", "Overloaded", "Backend" or "Unhealthy".
std::string_view TeiErrorType(Code code);

// Whole seconds for `Retry-After`: the advice of `status` rounded up, at least 1.
int RetryAfterSeconds(const Status& status);

}  // namespace rerankd::serving
