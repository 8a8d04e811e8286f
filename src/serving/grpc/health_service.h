// grpc.health.v1.Health. Thread-safe.
#pragma once

#include <grpc/health/v1/health.grpc.pb.h>

#include <mutex>
#include <set>
#include <string>

namespace rerankd::serving {

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  // `services`: the names that Check knows besides "" (the server as a whole). `absent`: names that clients
  // ask for and that this server never serves: NOT_SERVING.
  HealthService(std::set<std::string> services, std::set<std::string> absent);

  // Tells every watcher.
  void SetServing(bool serving);
  // Ends all watches, which a server needs before it can shut down; later ones end at once.
  void EndWatches();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context, const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  using State = grpc::health::v1::HealthCheckResponse::ServingStatus;

  State StateOf(const std::string& service) const;
  void Remove(Watcher* watcher);

  const std::set<std::string> services_, absent_;
  mutable std::mutex mutex_;
  std::set<Watcher*> watchers_;
  bool serving_ = true;
  bool ended_ = false;
};

}  // namespace rerankd::serving
