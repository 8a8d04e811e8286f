// gRPC targets: unary calls on one channel.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "load/client.h"
#include "load/workload.h"

namespace rerankd::load {

struct GrpcTarget {
  std::string address;  // "host:port"
  std::string model;    // named to targets that want one
  std::string api_key;  // sent as a bearer token unless empty
  double timeout_ms = 60'000;
  bool allow_no_scores = false;  // an answer of a pipeline without a model (status_code 204) is fine
  // Of TLS: PEM of the authorities to trust, "" = those of the system. Nothing: spoken to without TLS.
  std::optional<std::string> authorities;
};

// `protocol`: "rerankd" (inference.InferenceService), "tei-grpc" or "kserve". Replies arrive on a thread of
// the client; Send may be called from any. Destroy it only when every request was answered.
Result<std::unique_ptr<Client>> MakeGrpcClient(std::string_view protocol, const GrpcTarget& target,
                                               const Workload& workload);

}  // namespace rerankd::load
