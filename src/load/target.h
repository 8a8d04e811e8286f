// Where a load goes: address and protocol, and the Client that speaks it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/client.h"
#include "load/workload.h"

namespace rerankd::load {

struct Target {
  std::string url;       // as given; https and grpcs are TLS
  std::string ca_file;   // PEM of the authorities that a target with TLS may have; empty: the system's
  std::string protocol;  // one of Protocols()
  std::string model = "default";  // named to targets that want one
  std::string api_key;            // sent as a bearer token unless empty
  double timeout_ms = 60'000;     // of a request
  bool allow_no_scores = false;   // a pipeline without a model answers none, over `rerankd`
};

// The one line of a key file; empty for path "". kNotFound, kInvalidArgument: name the file.
Result<std::string> ReadApiKey(const std::string& path);

// "rerankd" and so on, in the order of the help text.
const std::vector<std::string>& Protocols();

// kInvalidArgument: the protocol is unknown, or the url is not of its kind: http[s]://host:port[/prefix], or
// grpc[s]://host:port or host:port for gRPC. kNotFound: no `ca_file`. `workload` must outlive the client.
Result<std::unique_ptr<Client>> MakeClient(const Target& target, const Workload& workload);

}  // namespace rerankd::load
