// The running server: gRPC and HTTP over one Engine, and the sampler behind the metrics' history. Prints
// nothing.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "config/settings.h"
#include "engine/engine.h"

namespace rerankd {

class Server {
 public:
  // Starts what settings.server asks for (a negative port leaves that server out; 0 takes any free port).
  // `engine` outlives the server. kUnavailable: an address or the access log cannot be had;
  // kInvalidArgument, kNotFound: faulty key or TLS files. Messages name them.
  static Result<std::unique_ptr<Server>> Start(const Settings& settings, Engine& engine);
  // Drains if that has not been done.
  ~Server();

  // "host:port" as bound; "" for a server that is off.
  std::string grpc_address() const;
  std::string http_address() const;
  std::string prometheus_address() const;  // the second listener, for /metrics alone

  // Reads API keys and TLS files again and reopens the access log. After an error the old keys and
  // certificates stay in use.
  Status Reload();

  // Health turns NOT_SERVING, new requests are refused, every admitted one is answered; then the ports close.
  // Returns when all is done. Idempotent; one thread at a time.
  void Drain();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd
