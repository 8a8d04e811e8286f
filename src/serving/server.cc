#include "serving/server.h"

#include <string_view>
#include <utility>

#include "serving/access_log.h"
#include "serving/grpc/grpc_server.h"
#include "serving/http/http_server.h"
#include "serving/http/routes.h"
#include "serving/metrics/process_usage.h"
#include "serving/score_service.h"
#include "serving/security.h"

namespace rerankd {
namespace {

constexpr auto kSamplePeriod = std::chrono::milliseconds(500);
constexpr auto kFlushGrace = std::chrono::seconds(5);  // for replies that are made but not yet sent

}  // namespace

struct Server::Impl {
  Impl(const Settings& settings, Engine& engine) : service(settings, engine, SteadyClock::Get()) {}

  serving::ScoreService service;
  std::unique_ptr<serving::Security> security;
  std::unique_ptr<serving::AccessLog> access_log;
  std::unique_ptr<serving::GrpcServer> grpc;
  std::unique_ptr<serving::HttpServer> http, prometheus;
  std::unique_ptr<serving::Sampler> sampler;
  bool drained = false;
};

Result<std::unique_ptr<Server>> Server::Start(const Settings& settings, Engine& engine) {
  auto impl = std::make_unique<Impl>(settings, engine);
  serving::ScoreService& service = impl->service;
  RERANKD_ASSIGN_OR_RETURN(impl->security, serving::Security::Load(settings.server));
  RERANKD_ASSIGN_OR_RETURN(impl->access_log, serving::AccessLog::Open(settings.server.access_log));
  serving::HttpOptions options = serving::MakeHttpOptions(settings.server);
  options.security = impl->security.get();
  options.access_log = impl->access_log.get();
  options.on_failure = [&service](std::string_view route, Code code) { service.CountFailure(route, code); };
  if (settings.server.grpc_port >= 0) {
    RERANKD_ASSIGN_OR_RETURN(
        impl->grpc, serving::GrpcServer::Start({service, *impl->security, *impl->access_log, options.held}));
  }
  const std::string& host = settings.server.host;
  if (settings.server.http_port >= 0) {
    const serving::HttpListen listen = {host, settings.server.http_port, "server.http_port",
                                        settings.server.unix_socket};
    RERANKD_ASSIGN_OR_RETURN(impl->http,
                             serving::HttpServer::Start(listen, options, serving::MakeRoutes(service)));
  }
  if (settings.server.prometheus_port >= 0) {
    const serving::HttpListen listen = {host, settings.server.prometheus_port, "server.prometheus_port", ""};
    RERANKD_ASSIGN_OR_RETURN(
        impl->prometheus, serving::HttpServer::Start(listen, options, serving::MakeMetricsRoutes(service)));
  }
  impl->sampler = std::make_unique<serving::Sampler>(kSamplePeriod, [&service, grpc = impl->grpc.get()] {
    service.SampleSystem();
    if (grpc != nullptr && !service.Working().ok()) grpc->AnnounceDrain();  // lost workers do not come back
  });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { Drain(); }

std::string Server::grpc_address() const { return impl_->grpc ? impl_->grpc->address() : ""; }
std::string Server::http_address() const { return impl_->http ? impl_->http->address() : ""; }
std::string Server::prometheus_address() const {
  return impl_->prometheus ? impl_->prometheus->address() : "";
}

Status Server::Reload() {
  RERANKD_RETURN_IF_ERROR(impl_->security->Reload());
  return impl_->access_log->Reopen();
}

void Server::Drain() {
  if (std::exchange(impl_->drained, true)) return;
  if (impl_->grpc) impl_->grpc->AnnounceDrain();
  if (impl_->http) impl_->http->AnnounceDrain();
  impl_->service.Drain();
  if (impl_->http) impl_->http->Shutdown(kFlushGrace);
  if (impl_->prometheus) impl_->prometheus->Shutdown(kFlushGrace);
  if (impl_->grpc) impl_->grpc->Shutdown(kFlushGrace);
  impl_->sampler.reset();
}

}  // namespace rerankd
