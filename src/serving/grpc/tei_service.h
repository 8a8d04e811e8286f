// The other services of tei.v1: Info, Predict (every label of a pair), Tokenize.
#pragma once

#include <memory>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

std::unique_ptr<grpc::Service> MakeTeiInfo(const GrpcBackend& backend);
std::unique_ptr<grpc::Service> MakeTeiPredict(const GrpcBackend& backend);
std::unique_ptr<grpc::Service> MakeTeiTokenize(const GrpcBackend& backend);

}  // namespace rerankd::serving
