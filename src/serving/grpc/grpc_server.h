// The gRPC server: inference.InferenceService, grpc.health.v1, reflection, on one plain-text port.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "serving/score_service.h"

namespace rerankd::serving {

class GrpcServer {
 public:
  // Listens on server.host:server.grpc_port (0 = any free port) and serves at once. An address that cannot be
  // had is kUnavailable, naming it. `service` outlives the server.
  static Result<std::unique_ptr<GrpcServer>> Start(ScoreService& service);
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
