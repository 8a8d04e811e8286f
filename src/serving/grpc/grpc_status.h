// Status -> grpc::Status, with google.rpc.RetryInfo where the server knows when to come back.
#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"
#include "serving/reply_headers.h"

namespace rerankd::serving {

grpc::Status ToGrpcStatus(const Status& status);

// Trailing metadata of a refusal: retry-after (whole seconds) and grpc-retry-pushback-ms, which gRPC's own
// retry policy obeys. Empty for failures that a retry cannot cure.
Headers RetryMetadata(const Status& status);

}  // namespace rerankd::serving
