#include "serving/grpc/grpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "serving/address.h"
#include "serving/grpc/health_service.h"
#include "serving/grpc/inference_service.h"

namespace rerankd::serving {
namespace {

// What gRPC and protobuf print on stderr either comes back as a Status too, or reports a client's mistake.
void LogGrpc(gpr_log_func_args* args) { Log(LogLevel::kDebug, "grpc", {{"message", args->message}}); }
void LogProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  Log(LogLevel::kDebug, "protobuf", {{"message", message}});
}

void SetUpLibrary() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function(LogGrpc);
    google::protobuf::SetLogHandler(LogProtobuf);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

int MessageLimit(int64_t bytes) {
  return static_cast<int>(std::min<int64_t>(bytes, std::numeric_limits<int>::max()));
}

}  // namespace

struct GrpcServer::Impl {
  explicit Impl(ScoreService& service)
      : inference(MakeInferenceService(service)), health({"inference.InferenceService"}) {}

  std::unique_ptr<grpc::Service> inference;
  HealthService health;
  std::string host;
  int port = 0;
  std::unique_ptr<grpc::Server> server;  // last: goes before the services it calls
};

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(ScoreService& service) {
  SetUpLibrary();
  const ServerSettings& settings = service.settings().server;
  auto impl = std::make_unique<Impl>(service);
  impl->host = settings.host;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a second server on the port is an error
  builder.SetMaxReceiveMessageSize(MessageLimit(settings.max_body_bytes));
  builder.SetMaxSendMessageSize(-1);
  builder.AddListeningPort(JoinHostPort(settings.host, settings.grpc_port), grpc::InsecureServerCredentials(),
                           &impl->port);
  builder.RegisterService(impl->inference.get());
  builder.RegisterService(&impl->health);
  impl->server = builder.BuildAndStart();
  if (!impl->server || impl->port <= 0) {
    return CannotListen(settings.host, settings.grpc_port, BindFailure(settings.host, settings.grpc_port),
                        "server.grpc_port");
  }
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GrpcServer::~GrpcServer() { Shutdown(Duration::zero()); }

std::string GrpcServer::address() const { return JoinHostPort(impl_->host, impl_->port); }

void GrpcServer::AnnounceDrain() { impl_->health.SetServing(false); }

void GrpcServer::Shutdown(Duration grace) {
  impl_->health.EndWatches();
  const auto wait = std::chrono::duration_cast<std::chrono::system_clock::duration>(grace);
  impl_->server->Shutdown(std::chrono::system_clock::now() + wait);
  impl_->server->Wait();
}

}  // namespace rerankd::serving
