// KServe's inference.GRPCInferenceService over the engine's model (serving/kserve_model.h). ServerLive,
// ServerReady and ModelReady need no API key: orchestrators ask them.
#pragma once

#include <memory>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

std::unique_ptr<grpc::Service> MakeKserveService(const GrpcBackend& backend);

}  // namespace rerankd::serving
