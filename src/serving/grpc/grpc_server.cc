#include "serving/grpc/grpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "serving/grpc/connection_acceptor.h"
#include "serving/grpc/health_service.h"
#include "serving/grpc/inference_service.h"
#include "serving/grpc/kserve_service.h"
#include "serving/grpc/tei_rerank.h"
#include "serving/grpc/tei_service.h"
#include "serving/sockets.h"

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

// Names that clients of text-embeddings-inference ask the health of, and that rerankers do not serve.
const std::set<std::string> kAbsent = {"tei.v1.Embed"};

std::set<std::string> ServiceNames(const ModelInfo& model) {
  std::set<std::string> names = {"inference.InferenceService", "inference.GRPCInferenceService",
                                 "tei.v1.Info", "tei.v1.Predict", "tei.v1.Tokenize"};
  if (model.num_labels <= 2) names.insert("tei.v1.Rerank");
  return names;
}

// With TLS the files are looked at again every few seconds: new connections get renewed certificates.
std::shared_ptr<grpc::ServerCredentials> Credentials(const ServerSettings& settings) {
  constexpr unsigned kLookAgainSeconds = 5;
  if (settings.tls_cert.empty()) return grpc::InsecureServerCredentials();
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          settings.tls_key, settings.tls_cert, kLookAgainSeconds));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return grpc::experimental::TlsServerCredentials(options);
}

int ToInt(double n) { return static_cast<int>(std::min<double>(n, std::numeric_limits<int>::max())); }

// Peers that went silent, that never finish a handshake, and messages that fill the memory before they are
// complete.
void Harden(const ServerSettings& settings, grpc::ServerBuilder* builder) {
  constexpr int64_t kLibraryBytes = 64 << 20;  // for connections and their buffers
  constexpr int kStreams = 1000;               // of a connection; a client's further calls wait at the client
  constexpr int kPingsAtMostEveryMs = 10'000;  // of a client; the library's own rule is 5 minutes
  const int silence_ms = ToInt(settings.idle_timeout_ms);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreams);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, ToInt(settings.header_timeout_ms));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, silence_ms);  // without a call: told to go
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, silence_ms);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, std::min(silence_ms, 20'000));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingsAtMostEveryMs);
  grpc::ResourceQuota quota("rerankd");  // of what the library holds; ours counts complete messages
  quota.Resize(
      static_cast<size_t>(std::max(settings.max_buffered_bytes, settings.max_body_bytes) + kLibraryBytes));
  builder->SetResourceQuota(quota);
}

}  // namespace

struct GrpcServer::Impl {
  explicit Impl(const GrpcBackend& shared);

  const GrpcBackend backend;
  std::vector<std::unique_ptr<grpc::Service>> services;
  HealthService health;
  std::string host;
  std::unique_ptr<grpc::Server> server;          // goes before the services it calls
  std::unique_ptr<ConnectionAcceptor> acceptor;  // goes before the server it feeds
};

GrpcServer::Impl::Impl(const GrpcBackend& shared)
    : backend(shared), health(ServiceNames(shared.service.engine().model()), kAbsent) {
  services.push_back(MakeInferenceService(backend));
  services.push_back(MakeTeiInfo(backend));
  services.push_back(MakeTeiRerank(backend));
  services.push_back(MakeTeiPredict(backend));
  services.push_back(MakeTeiTokenize(backend));
  services.push_back(MakeKserveService(backend));
}

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcBackend& backend) {
  SetUpLibrary();
  const ServerSettings& settings = backend.service.settings().server;
  auto impl = std::make_unique<Impl>(backend);
  impl->host = settings.host;
  RERANKD_ASSIGN_OR_RETURN(impl->acceptor,
                           ConnectionAcceptor::Listen(settings.host, settings.grpc_port, "server.grpc_port"));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(ToInt(static_cast<double>(settings.max_body_bytes)));
  builder.SetMaxSendMessageSize(-1);
  Harden(settings, &builder);
  using Hand = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  auto connections =
      builder.experimental().AddExternalConnectionAcceptor(Hand::FROM_FD, Credentials(settings));
  for (const auto& service : impl->services) builder.RegisterService(service.get());
  builder.RegisterService(&impl->health);
  impl->server = builder.BuildAndStart();
  if (!impl->server)
    return Unavailable("cannot start the gRPC server; its reasons are in the log at level debug");
  impl->acceptor->Start(ConnectionLimit(settings), std::move(connections));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GrpcServer::~GrpcServer() { Shutdown(Duration::zero()); }

std::string GrpcServer::address() const { return JoinHostPort(impl_->host, impl_->acceptor->port()); }

void GrpcServer::AnnounceDrain() { impl_->health.SetServing(false); }

void GrpcServer::Shutdown(Duration grace) {
  impl_->acceptor->Stop();
  impl_->health.EndWatches();
  const auto wait = std::chrono::duration_cast<std::chrono::system_clock::duration>(grace);
  impl_->server->Shutdown(std::chrono::system_clock::now() + wait);
  impl_->server->Wait();
}

}  // namespace rerankd::serving
