// tei.v1.Rerank: Rerank, and RerankStream, which takes one text a message and answers when the client has
// sent all. Scores are sigmoids unless raw ones are asked for; ranks come best first, ties in input order.
#pragma once

#include <memory>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

std::unique_ptr<grpc::Service> MakeTeiRerank(const GrpcBackend& backend);

}  // namespace rerankd::serving
