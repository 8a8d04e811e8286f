// inference.InferenceService. Scores leave in input order; errors carry the codes of
// error_map.h.
//  - Infer: 0 pairs, too many pairs, or bytes that are no InferRequest (strings that are not UTF-8 included)
//    are INVALID_ARGUMENT. Empty texts, NUL and control characters are scored like any text; long texts are
//    truncated (longest_first) and counted in x-truncated-documents of the trailing metadata.
//  - the client's deadline and cancellation reach the queue.
#pragma once

#include <memory>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

std::unique_ptr<grpc::Service> MakeInferenceService(const GrpcBackend& backend);

}  // namespace rerankd::serving
