// The one table from our error codes to what HTTP and gRPC clients see.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd::serving {

int HttpStatus(Code code);
int GrpcStatus(Code code);  // the number of grpc::StatusCode

// TEI's `error_type` of a code: "Validation", "Overloaded", "Backend" or "Unhealthy".
std::string_view TeiErrorType(Code code);

// The message of a failure, cut to what a client is sent: it may hold a part of its request, and gRPC's
// clients take no more than 8 KiB of metadata.
std::string ClientMessage(const Status& status);

// Whole seconds for `Retry-After`: the advice of `status` rounded up, at least 1.
int RetryAfterSeconds(const Status& status);

}  // namespace rerankd::serving
