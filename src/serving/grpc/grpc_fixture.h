// For tests: a gRPC server over a test engine on loopback, and a channel to it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "serving/grpc/grpc_server.h"

namespace rerankd::serving {

inline std::string Trailer(const grpc::ClientContext& context, const std::string& key) {
  const auto& trailer = context.GetServerTrailingMetadata();
  const auto found = trailer.find(key);
  return found == trailer.end() ? "" : std::string(found->second.data(), found->second.size());
}

template <typename TestEngine>
class GrpcFixture : public ::testing::Test {
 public:
  static Settings Loopback() {
    Settings settings;
    settings.server.host = "127.0.0.1";
    settings.server.grpc_port = 0;
    settings.server.max_documents = 100;
    settings.server.max_body_bytes = 300'000;
    return settings;
  }

 protected:
  GrpcFixture() : GrpcFixture(1) {}
  explicit GrpcFixture(int labels, const Settings& settings = Loopback())
      : engine_(labels),
        service_(settings, engine_, SteadyClock::Get()),
        security_(std::move(*Security::Load(settings.server))),
        log_(std::move(*AccessLog::Open(settings.server.access_log))),
        server_(std::move(*GrpcServer::Start({service_, *security_, *log_}))),
        channel_(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials())) {}

  TestEngine engine_;
  ScoreService service_;
  std::unique_ptr<Security> security_;
  std::unique_ptr<AccessLog> log_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace rerankd::serving
