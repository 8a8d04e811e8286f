#include "serving/http/http_server.h"

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cmath>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "serving/address.h"

namespace rerankd::serving {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using asio::awaitable;
using Parser = http::request_parser<http::string_body>;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr auto kRetry = std::chrono::milliseconds(50);
constexpr auto kDiscardFor = std::chrono::seconds(2);
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

class Connection;

// What connections share. Outlives them.
struct Shared {
  Shared(Router r, const HttpLimits& l) : router(std::move(r)), limits(l) {}

  const Router router;
  const HttpLimits limits;
  std::atomic<bool> draining{false};

  std::mutex mutex;
  std::condition_variable gone;
  std::set<Connection*> connections;
};

// The reply that a handler owes. `ready` never expires; it is cancelled to wake the connection.
struct Pending {
  explicit Pending(const asio::any_io_executor& executor)
      : ready(executor, asio::steady_timer::time_point::max()) {}
  asio::steady_timer ready;
  ReplyMaker make;
};

bool IsLoopback(const tcp::socket& socket) {
  error_code ec;
  const asio::ip::address address = socket.remote_endpoint(ec).address();
  if (ec) return false;
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
  return address.is_loopback();
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// Every reply has the per-request times; those that scored nothing spent none.
void AddTimes(TimePoint started, HttpReply* reply) {
  const double total_ms = ToMs(SteadyClock::Get().Now() - started);
  for (const auto& [name, value] :
       {std::pair("x-queue-time", 0.0), std::pair("x-tokenization-time", 0.0),
        std::pair("x-inference-time", 0.0), std::pair("x-total-time", total_ms)}) {
    const bool there = std::any_of(reply->headers.begin(), reply->headers.end(),
                                   [&](const auto& header) { return header.first == name; });
    if (!there) reply->headers.emplace_back(name, std::to_string(std::llround(value)));
  }
}

Failure FailureOf(const error_code& ec, const HttpLimits& limits) {
  if (ec == http::error::body_limit)
    return {InvalidArgument("the body is larger than " + std::to_string(limits.body_bytes) +
                            " bytes (server.max_body_bytes)"),
            413};
  if (ec == http::error::header_limit)
    return {InvalidArgument("the header is larger than " + std::to_string(limits.header_bytes) + " bytes"),
            431};
  return {InvalidArgument("not a valid HTTP request: " + ec.message()), 400};
}

// One client. All of it runs on one strand; it lives as long as its coroutine.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared)
      : socket_(std::move(socket)),
        deadline_(socket_.get_executor()),
        shared_(shared),
        from_loopback_(IsLoopback(socket_)) {
    std::lock_guard lock(shared_.mutex);
    shared_.connections.insert(this);
  }
  ~Connection() {
    {
      std::lock_guard lock(shared_.mutex);
      shared_.connections.erase(this);
    }
    shared_.gone.notify_all();
  }

  void Start() {
    asio::co_spawn(
        socket_.get_executor(), [self = shared_from_this()] { return self->Run(); },
        [self = shared_from_this()](const std::exception_ptr&) {});
  }

  // From any thread.
  void CloseIfIdle() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      error_code ignored;
      if (self->idle_) self->socket_.cancel(ignored);
    });
  }

 private:
  awaitable<void> Run() {
    while (co_await ServeOne()) {
    }
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    if (unread_) co_await DiscardInput();
    socket_.close(ignored);
  }

  // False when the connection is to be closed.
  awaitable<bool> ServeOne() {
    if (!co_await FirstByte()) co_return false;
    Parser parser;
    parser.header_limit(shared_.limits.header_bytes);
    parser.body_limit(shared_.limits.body_bytes);
    Arm(shared_.limits.header);
    auto [header_error, header_bytes] = co_await http::async_read_header(socket_, buffer_, parser, kToken);
    Disarm();
    if (header_error) co_return co_await RejectRead(header_error, shared_.router.fallback());

    const Router::Match match = FindRoute(parser);
    const ErrorBody error_body = match.route != nullptr ? match.route->error : shared_.router.fallback();
    if (std::optional<HttpReply> refusal = Refusal(parser, match)) {
      unread_ = !parser.is_done();
      co_return co_await Write(std::move(*refusal), parser.get(), parser.keep_alive() && !unread_);
    }
    if (const error_code body_error = co_await ReadBody(parser))
      co_return co_await RejectRead(body_error, error_body);

    HttpRequest request = TakeRequest(parser, match);
    HttpReply reply = co_await Dispatch(*match.route, request);
    if (reply.stream) co_return co_await WriteStream(std::move(reply), parser.get());
    AddTimes(request.started, &reply);
    co_return co_await Write(std::move(reply), parser.get(), parser.keep_alive());
  }

  awaitable<bool> FirstByte() {
    if (buffer_.size() > 0) co_return true;  // pipelined
    if (shared_.draining) co_return false;
    idle_ = true;
    Arm(shared_.limits.idle);
    auto [ec, n] = co_await socket_.async_read_some(buffer_.prepare(4096), kToken);
    Disarm();
    idle_ = false;
    if (!ec) buffer_.commit(n);
    co_return !ec;
  }

  Router::Match FindRoute(const Parser& parser) const {
    std::string_view path(parser.get().target().data(), parser.get().target().size());
    path = path.substr(0, path.find('?'));
    const auto method = parser.get().method_string();
    return shared_.router.Find({method.data(), method.size()}, path);
  }

  // What can be answered before the body is read.
  std::optional<HttpReply> Refusal(const Parser& parser, const Router::Match& match) const {
    const auto& header = parser.get();
    const std::string target(header.target());
    if (match.route == nullptr && match.allow.empty())
      return ErrorReply(shared_.router.fallback(), {NotFound("no route '" + target + "' here"), 404});
    if (match.route == nullptr) {
      HttpReply reply =
          ErrorReply(shared_.router.fallback(),
                     {InvalidArgument("'" + target + "' does not answer " +
                                      std::string(header.method_string()) + ", only " + match.allow),
                      405});
      reply.headers.emplace_back("allow", match.allow);
      return reply;
    }
    if (match.route->access == Access::kAdmin && !from_loopback_)
      return ErrorReply(match.route->error,
                        {InvalidArgument(target + " answers clients on the loopback interface only"), 403});
    const auto encoding = header[http::field::content_encoding];
    if (!encoding.empty() && encoding != "identity")
      return ErrorReply(match.route->error, {InvalidArgument("content-encoding '" + std::string(encoding) +
                                                             "' is not supported: send the body as it is"),
                                             415});
    return std::nullopt;
  }

  awaitable<error_code> ReadBody(Parser& parser) {
    if (parser.is_done()) co_return error_code();
    Arm(shared_.limits.body);
    if (boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      auto [ec, n] =
          co_await asio::async_write(socket_, asio::buffer(kContinue.data(), kContinue.size()), kToken);
      if (ec) co_return ec;
    }
    auto [ec, n] = co_await http::async_read(socket_, buffer_, parser, kToken);
    Disarm();
    co_return ec;
  }

  HttpRequest TakeRequest(Parser& parser, const Router::Match& match) const {
    auto& message = parser.get();
    HttpRequest request;
    request.method = std::string(message.method_string());
    const std::string target(message.target());
    request.path = target.substr(0, target.find('?'));
    request.path_parts = match.parts;
    for (const auto& field : message)
      request.headers.emplace_back(Lower({field.name_string().data(), field.name_string().size()}),
                                   std::string(field.value()));
    request.body = std::move(message.body());
    request.started = SteadyClock::Get().Now();
    return request;
  }

  // Runs the handler and waits for its reply; meanwhile watches for the client closing the connection.
  awaitable<HttpReply> Dispatch(const Route& route, HttpRequest& request) {
    auto pending = std::make_shared<Pending>(socket_.get_executor());
    // Weak: what a handler keeps for longer than its call must not keep pieces of the io_context.
    std::weak_ptr<Pending> owed = pending;
    try {
      route.handler(request, [owed](ReplyMaker make) {
        if (auto to = owed.lock()) Fulfil(std::move(to), std::move(make));
      });
    } catch (const std::exception& e) {
      co_return ErrorReply(route.error, {Internal(e.what()), 500});
    }
    WatchForClose(pending, request.cancel);
    while (!pending->make) co_await pending->ready.async_wait(kToken);
    error_code ignored;
    socket_.cancel(ignored);  // ends the watch
    try {
      co_return pending->make();
    } catch (const std::exception& e) {
      co_return ErrorReply(route.error, {Internal(e.what()), 500});
    }
  }

  static void Fulfil(std::shared_ptr<Pending> pending, ReplyMaker make) {
    const auto executor = pending->ready.get_executor();
    asio::post(executor, [pending = std::move(pending), make = std::move(make)]() mutable {
      pending->make = std::move(make);
      pending->ready.cancel();
    });
  }

  void WatchForClose(const std::shared_ptr<Pending>& pending, const CancelFlag& cancel) {
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this(), pending, cancel](error_code ec) {
      if (!ec && !pending->make && self->ClientHasLeft()) cancel.Cancel();
    });
  }

  // Answers what could not be read, if anybody is there to hear it.
  awaitable<bool> RejectRead(const error_code& ec, ErrorBody error_body) {
    const bool malformed = ec.category() == make_error_code(http::error::bad_method).category();
    unread_ = true;
    if (timed_out_) {
      const Failure failure = {DeadlineExceeded("the request did not arrive in time"), 408};
      co_return co_await Write(ErrorReply(error_body, failure), {}, false);
    }
    if (!malformed || ec == http::error::end_of_stream || ec == http::error::partial_message) co_return false;
    co_return co_await Write(ErrorReply(error_body, FailureOf(ec, shared_.limits)), {}, false);
  }

  awaitable<bool> Write(HttpReply reply, const Parser::value_type& request, bool keep_alive) {
    http::response<http::string_body> response(static_cast<http::status>(reply.status), request.version());
    SetHeader(reply, &response);
    response.body() = std::move(reply.body);
    response.keep_alive(keep_alive && !shared_.draining);
    response.prepare_payload();

    http::response_serializer<http::string_body> serializer(response);
    Arm(shared_.limits.write);
    error_code error;
    if (request.method() == http::verb::head) {
      auto [ec, n] = co_await http::async_write_header(socket_, serializer, kToken);
      error = ec;
    } else {
      auto [ec, n] = co_await http::async_write(socket_, serializer, kToken);
      error = ec;
    }
    Disarm();
    co_return !error && response.keep_alive();
  }

  // The end of the connection is the end of the body: nothing can follow on it.
  awaitable<bool> WriteStream(HttpReply reply, const Parser::value_type& request) {
    http::response<http::empty_body> response(static_cast<http::status>(reply.status), request.version());
    SetHeader(reply, &response);
    response.keep_alive(false);
    http::response_serializer<http::empty_body> serializer(response);
    Arm(shared_.limits.write);
    auto [failed, header_bytes] = co_await http::async_write_header(socket_, serializer, kToken);
    Disarm();
    if (failed || request.method() == http::verb::head) co_return false;

    asio::steady_timer pause(socket_.get_executor());
    while (!shared_.draining && !ClientHasLeft()) {
      const std::string text = reply.stream->next();
      Arm(shared_.limits.write);
      auto [ec, bytes] = co_await asio::async_write(socket_, asio::buffer(text), kToken);
      Disarm();
      if (ec) break;
      pause.expires_after(reply.stream->period);
      co_await pause.async_wait(kToken);
    }
    co_return false;
  }

  template <typename Response>
  static void SetHeader(const HttpReply& reply, Response* response) {
    response->set(http::field::server, "rerankd");
    response->set(http::field::date, HttpDate());
    if (!reply.content_type.empty()) response->set(http::field::content_type, reply.content_type);
    for (const auto& [name, value] : reply.headers) response->set(name, value);
  }

  // A readable socket without a byte to read is a closed one. With bytes (the next request) nobody can tell.
  bool ClientHasLeft() {
    char byte = 0;
    const ssize_t n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  }

  // Closing with unread input would reset the connection and could destroy the reply on its way.
  awaitable<void> DiscardInput() {
    Arm(kDiscardFor);
    for (;;) {
      buffer_.clear();
      auto [ec, n] = co_await socket_.async_read_some(buffer_.prepare(16384), kToken);
      if (ec || timed_out_) break;
    }
    Disarm();
  }

  // Cancels what the socket does once `after` has passed, again and again until disarmed: a composed
  // operation may just then be between two steps.
  void Arm(Duration after) {
    timed_out_ = false;
    deadline_.expires_after(after);
    WaitForDeadline(++armed_);
  }
  void Disarm() {
    ++armed_;
    deadline_.cancel();
  }
  void WaitForDeadline(uint64_t armed) {
    deadline_.async_wait([self = shared_from_this(), armed](error_code ec) {
      if (ec || armed != self->armed_) return;
      self->timed_out_ = true;
      error_code ignored;
      self->socket_.cancel(ignored);
      self->deadline_.expires_after(kRetry);
      self->WaitForDeadline(armed);
    });
  }

  tcp::socket socket_;
  asio::steady_timer deadline_;
  Shared& shared_;
  const bool from_loopback_;
  boost::beast::flat_buffer buffer_;
  uint64_t armed_ = 0;
  bool timed_out_ = false;
  bool idle_ = false;
  bool unread_ = false;  // input may remain that will not be read
};

}  // namespace

struct HttpServer::Impl {
  Shared shared;
  std::string host;
  int port = 0;
  bool stopped = false;
  asio::io_context io;  // after `shared`: connections that are left die with it
  tcp::acceptor acceptor{asio::make_strand(io)};
  std::vector<std::thread> threads;

  Impl(Router router, const HttpLimits& limits) : shared(std::move(router), limits) {}

  void Listen(const HttpListen& listen) {  // throws system_error
    const auto found =
        tcp::resolver(io).resolve(listen.host, std::to_string(listen.port), tcp::resolver::passive);
    const tcp::endpoint endpoint = *found.begin();
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen();
    host = listen.host;
    port = acceptor.local_endpoint().port();
  }

  bool Full() {
    std::lock_guard lock(shared.mutex);
    return static_cast<int>(shared.connections.size()) >= shared.limits.connections;
  }

  // Destroying one takes the mutex: the last reference must not go while it is held.
  std::vector<std::shared_ptr<Connection>> Alive() {
    std::vector<std::shared_ptr<Connection>> alive;
    std::lock_guard lock(shared.mutex);
    for (Connection* connection : shared.connections)
      if (auto reference = connection->weak_from_this().lock()) alive.push_back(std::move(reference));
    return alive;
  }

  // Connections beyond the limit, and all while no descriptor is left, wait in the system's backlog.
  awaitable<void> Accept() {
    while (!shared.draining) {
      if (!Full()) {
        auto [ec, socket] =
            co_await acceptor.async_accept(asio::any_io_executor(asio::make_strand(io)), kToken);
        if (!ec) {
          error_code ignored;
          socket.set_option(tcp::no_delay(true), ignored);
          std::make_shared<Connection>(std::move(socket), shared)->Start();
          continue;
        }
        if (!acceptor.is_open()) co_return;
      }
      asio::steady_timer pause(acceptor.get_executor(), kRetry);
      co_await pause.async_wait(kToken);
    }
  }

  void Run(int thread_count) {
    asio::co_spawn(
        acceptor.get_executor(), [this] { return Accept(); }, [](const std::exception_ptr&) {});
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([this] {
        SetThreadName("http-io");
        io.run();
      });
    }
  }

  void Stop(Duration grace) {
    if (std::exchange(stopped, true)) return;
    shared.draining = true;
    asio::post(acceptor.get_executor(), [this] {
      error_code ignored;
      acceptor.close(ignored);
    });
    for (const auto& connection : Alive()) connection->CloseIfIdle();
    {
      std::unique_lock lock(shared.mutex);
      shared.gone.wait_for(lock, grace, [this] { return shared.connections.empty(); });
    }
    io.stop();
    for (std::thread& thread : threads) thread.join();
  }
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpListen& listen, const HttpLimits& limits,
                                                      Router router) {
  auto impl = std::make_unique<Impl>(std::move(router), limits);
  try {
    impl->Listen(listen);
  } catch (const boost::system::system_error& e) {
    return CannotListen(listen.host, listen.port, e.code().message(), listen.setting);
  }
  impl->Run(limits.threads);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { impl_->Stop(Duration::zero()); }

std::string HttpServer::address() const { return JoinHostPort(impl_->host, impl_->port); }

void HttpServer::Shutdown(Duration grace) { impl_->Stop(grace); }

}  // namespace rerankd::serving
