#include "serving/http/http_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <exception>
#include <list>
#include <thread>
#include <utility>

#include "base/cpu.h"
#include "base/file.h"
#include "base/log.h"
#include "serving/http/connection.h"
#include "serving/sockets.h"

namespace rerankd::serving {
namespace {

using asio::awaitable;
using asio::ip::tcp;
using Local = asio::local::stream_protocol;

constexpr auto kNoRoom = std::chrono::milliseconds(5);
constexpr int kWorkThreads = 2;  // for big bodies

// A socket that a dead server left behind; one that somebody listens on stays.
void RemoveStaleSocket(const std::string& path, asio::io_context& io) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  Local::socket probe(io);
  error_code ec;
  probe.connect(Local::endpoint(path), ec);
  if (ec == asio::error::connection_refused) ::unlink(path.c_str());
}

Status CannotListenOn(const std::string& path, const std::string& reason) {
  return Unavailable("cannot listen on the Unix socket '" + path + "' (server.unix_socket): " + reason);
}

}  // namespace

struct HttpServer::Impl {
  ConnectionHub hub;
  asio::io_context io;                   // connections that are left die with it, before `hub`
  asio::thread_pool work{kWorkThreads};  // ends before `io`, which its results are posted to
  std::string host;
  int port = 0;
  std::string socket_path;
  bool stopped = false;
  const asio::strand<asio::io_context::executor_type> accepting{asio::make_strand(io)};
  std::list<tcp::acceptor> tcp_acceptors;  // one for each address of the host
  Local::acceptor local_acceptor{accepting};
  std::shared_ptr<const TlsPem> tls_files;  // what `tls` was made of; on the strand
  std::shared_ptr<asio::ssl::context> tls;
  std::vector<std::thread> threads;

  Impl(Router router, const HttpOptions& options) : hub(std::move(router), options, work) {}

  void ListenOnUnixSocket(const std::string& path) {  // throws system_error
    RemoveStaleSocket(path, io);
    local_acceptor.open(Local());
    local_acceptor.bind(Local::endpoint(path));
    socket_path = path;
    ::chmod(path.c_str(), 0660);  // before anybody can connect: it does not listen yet
    local_acceptor.listen();
  }

  // For a connection that has just come; null = plain. A reload of the files shows as a new object.
  std::shared_ptr<asio::ssl::context> CurrentTls() {
    const auto files = hub.options.security != nullptr ? hub.options.security->tls() : nullptr;
    if (files == tls_files) return tls;
    tls_files = files;
    tls.reset();
    Result<SslContext> made = MakeTlsContext(*files);  // these files were checked when they were read
    if (made.ok()) tls = std::make_shared<asio::ssl::context>(made->release());
    return tls;
  }

  // Connections beyond the limit, or beyond the descriptors that the system has, take the place of the
  // longest idle one, or wait in the system's backlog.
  template <typename Acceptor>
  awaitable<void> Accept(Acceptor& acceptor) {
    constexpr bool kTcp = std::is_same_v<Acceptor, tcp::acceptor>;
    while (!hub.draining) {
      auto [error] = co_await acceptor.async_wait(Acceptor::wait_read, kToken);
      if (error) co_return;
      if (hub.Full()) {
        hub.CloseLongestIdle();
        co_await Pause(acceptor.get_executor(), kNoRoom);
        continue;
      }
      auto [ec, socket] =
          co_await acceptor.async_accept(asio::any_io_executor(asio::make_strand(io)), kToken);
      if (!acceptor.is_open()) co_return;
      if (ec) {
        hub.CloseLongestIdle();
        co_await Pause(acceptor.get_executor(), kNoDescriptor);
        continue;
      }
      Stream::Socket generic(std::move(socket));
      if (kTcp) SetTcpOptions(generic.native_handle());
      std::make_shared<Connection>(std::move(generic), kTcp ? CurrentTls() : nullptr, hub)->Start();
    }
  }

  template <typename Acceptor>
  void StartAccepting(Acceptor& acceptor) {
    if (!acceptor.is_open()) return;
    asio::co_spawn(
        acceptor.get_executor(), [this, &acceptor] { return Accept(acceptor); },
        [](const std::exception_ptr&) {});
  }

  void Run() {
    for (tcp::acceptor& acceptor : tcp_acceptors) StartAccepting(acceptor);
    StartAccepting(local_acceptor);
    for (int i = 0; i < hub.options.limits.threads; ++i) {
      threads.emplace_back([this] {
        SetThreadName("http-io");
        io.run();
      });
    }
  }

  template <typename Acceptor>
  void StopAccepting(Acceptor& acceptor) {
    asio::post(acceptor.get_executor(), [&acceptor] {
      error_code ignored;
      acceptor.close(ignored);
    });
  }

  void Stop(Duration grace) {
    if (std::exchange(stopped, true)) return;
    hub.last_replies = true;
    hub.draining = true;
    for (tcp::acceptor& acceptor : tcp_acceptors) StopAccepting(acceptor);
    StopAccepting(local_acceptor);
    hub.CloseIdle();
    hub.AwaitEnd(grace);
    io.stop();
    for (std::thread& thread : threads) thread.join();
    work.join();
    if (!socket_path.empty()) ::unlink(socket_path.c_str());
  }
};

HttpOptions MakeHttpOptions(const ServerSettings& settings) {
  HttpOptions options;
  options.limits.body_bytes = static_cast<uint64_t>(settings.max_body_bytes);
  options.limits.buffered_bytes = settings.max_buffered_bytes;
  options.limits.header_bytes = static_cast<uint32_t>(settings.max_header_bytes);
  options.limits.connections = ConnectionLimit(settings);
  if (options.limits.connections < settings.max_connections)
    Log(LogLevel::kWarning,
        "fewer connections than server.max_connections: raise the limit of open files (ulimit -n)",
        {{"connections", options.limits.connections}, {"open_files", OpenFileLimit()}});
  options.held = std::make_shared<ByteBudget>(settings.max_buffered_bytes);
  options.limits.idle = FromMs(settings.idle_timeout_ms);
  options.limits.header = FromMs(settings.header_timeout_ms);
  options.limits.body = FromMs(settings.body_timeout_ms);
  options.limits.write = FromMs(settings.write_timeout_ms);
  options.cors = settings.cors;
  return options;
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpListen& listen, const HttpOptions& options,
                                                      Router router) {
  auto impl = std::make_unique<Impl>(std::move(router), options);
  impl->host = listen.host;
  RERANKD_ASSIGN_OR_RETURN(impl->tcp_acceptors,
                           Listen(impl->accepting, listen.host, listen.port, listen.setting));
  impl->port = impl->tcp_acceptors.front().local_endpoint().port();
  try {
    if (!listen.unix_socket.empty()) impl->ListenOnUnixSocket(listen.unix_socket);
  } catch (const boost::system::system_error& e) {
    return CannotListenOn(listen.unix_socket, e.code().message());
  }
  impl->Run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { impl_->Stop(Duration::zero()); }

std::string HttpServer::address() const { return JoinHostPort(impl_->host, impl_->port); }

void HttpServer::AnnounceDrain() { impl_->hub.last_replies = true; }

void HttpServer::Shutdown(Duration grace) { impl_->Stop(grace); }

}  // namespace rerankd::serving
