// The gRPC server: inference.InferenceService, tei.v1, inference.GRPCInferenceService, grpc.health.v1 and
// reflection on one port, plain or TLS.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

class GrpcServer {
 public:
  // Listens on server.host:server.grpc_port (0 = any free port) and serves at once; with TLS if server.tls
  // names files, which `backend`'s security has checked. An address that cannot be had is
  // kUnavailable, naming it. What `backend` refers to outlives the server.
  static Result<std::unique_ptr<GrpcServer>> Start(const GrpcBackend& backend);
  ~GrpcServer();

  std::string address() const;  // "host:port" as bound

  // Health checks answer NOT_SERVING from now on; calls are still taken.
  void AnnounceDrain();
  // Refuses new calls, lets the running ones finish for up to `grace`, cancels the rest, returns.
  void Shutdown(Duration grace);

 private:
  struct Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::serving
