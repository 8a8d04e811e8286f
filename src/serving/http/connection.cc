#include "serving/http/connection.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <cmath>
#include <cstring>
#include <ctime>
#include <exception>
#include <utility>

#include "base/text.h"
#include "serving/access_log.h"
#include "serving/http/compression.h"
#include "serving/request_id.h"
#include "serving/sockets.h"

namespace rerankd::serving {
namespace {

namespace http = boost::beast::http;
using asio::awaitable;

constexpr auto kRetry = std::chrono::milliseconds(50);
constexpr auto kLookEvery = std::chrono::milliseconds(100);
constexpr auto kDiscardFor = std::chrono::seconds(2);
constexpr size_t kReadBytes = 64 << 10;    // read at once
constexpr size_t kInlineBytes = 64 << 10;  // larger bodies are parsed (about 100 MB/s) on the work pool
constexpr size_t kWorthGzip = 32 << 10;    // of a reply
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

bool Has(const Headers& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& header) { return header.first == name; });
}

void AddIfAbsent(std::string_view name, std::string value, HttpReply* reply) {
  if (!Has(reply->headers, name)) reply->headers.emplace_back(name, std::move(value));
}

template <typename Response>
void SetFields(const HttpReply& reply, Response* response) {
  response->set(http::field::server, "rerankd");
  response->set(http::field::date, HttpDate());
  if (!reply.content_type.empty()) response->set(http::field::content_type, reply.content_type);
  for (const auto& [name, value] : reply.headers) response->insert(name, value);
}

// Every reply has the per-request times; those that scored nothing spent none.
void AddTimes(double total_ms, HttpReply* reply) {
  for (const char* stage : {"x-queue-time", "x-tokenization-time", "x-inference-time"})
    AddIfAbsent(stage, "0", reply);
  AddIfAbsent("x-total-time", std::to_string(std::llround(total_ms)), reply);
}

Failure FailureOf(const error_code& ec, const HttpLimits& limits) {
  if (ec == http::error::body_limit)
    return {InvalidArgument("the body is larger than " + std::to_string(limits.body_bytes) +
                            " bytes (server.max_body_bytes)"),
            413};
  if (ec == http::error::header_limit)
    return {InvalidArgument("the header is larger than " + std::to_string(limits.header_bytes) +
                            " bytes (server.max_header_bytes)"),
            431};
  return {InvalidArgument("not a valid HTTP request: " + ec.message()), 400};
}

// RFC 9112, 6.3: of other codings than chunked, or chunked in HTTP/1.0, nobody can tell where the body ends,
// and a proxy in front may see another end than this server.
bool EndsNowhere(const http::request_header<>& head) {
  const auto codings = head.count(http::field::transfer_encoding);
  const auto coding = head[http::field::transfer_encoding];
  return codings > 1 ||
         (codings == 1 && (head.version() < 11 || ToLower({coding.data(), coding.size()}) != "chunked"));
}

// "http://host/path", as proxies send it, is "/path".
std::string_view PathOf(std::string_view target) {
  if (const size_t scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    const size_t path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  return target.substr(0, target.find('?'));
}

// RFC 9110, 12.5.3: "gzip;q=0" and its spellings refuse it.
bool AcceptsGzip(const HttpRequest& request) {
  std::string accepted = ToLower(request.Header("accept-encoding"));
  std::erase(accepted, ' ');
  for (const std::string_view coding : Split(accepted, ',')) {
    if (coding.substr(0, coding.find(';')) != "gzip") continue;
    const size_t weight = coding.find(";q=");
    return weight == std::string_view::npos ||
           coding.substr(weight + 3).find_first_not_of("0.") != std::string_view::npos;
  }
  return false;
}

struct Peer {
  std::string name = "unix";
  bool local = true;
};

Peer PeerOf(const Stream::Socket& socket) {
  error_code ec;
  const auto generic = socket.remote_endpoint(ec);
  const int family = generic.protocol().family();
  if (ec || (family != AF_INET && family != AF_INET6)) return ec ? Peer{"unknown", false} : Peer{};
  asio::ip::tcp::endpoint endpoint;
  endpoint.resize(generic.size());
  std::memcpy(endpoint.data(), generic.data(), generic.size());
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return {JoinHostPort(address.to_string(), endpoint.port()), address.is_loopback()};
}

}  // namespace

// The reply that a handler owes. `ready` never expires; it is cancelled to wake the connection.
struct PendingReply {
  explicit PendingReply(const asio::any_io_executor& executor)
      : ready(executor, asio::steady_timer::time_point::max()) {}
  asio::steady_timer ready;
  ReplyMaker make;
};

// --- What connections share.

bool ConnectionHub::Full() {
  std::lock_guard lock(mutex_);
  return count_ >= options.limits.connections;
}

void ConnectionHub::CloseLongestIdle() {
  for (const auto& connection : Idle(1)) connection->CloseIfIdle();
}

void ConnectionHub::CloseIdle() {
  for (const auto& connection : Idle(SIZE_MAX)) connection->CloseIfIdle();
}

void ConnectionHub::AwaitEnd(Duration grace) {
  std::unique_lock lock(mutex_);
  gone_.wait_for(lock, grace, [this] { return count_ == 0; });
}

void ConnectionHub::Enter(Connection*) {
  std::lock_guard lock(mutex_);
  ++count_;
}

void ConnectionHub::Leave(Connection* connection) {
  MarkBusy(connection);
  {
    std::lock_guard lock(mutex_);
    --count_;
  }
  gone_.notify_all();
}

bool ConnectionHub::MarkIdle(Connection* connection) {
  std::lock_guard lock(mutex_);
  if (draining) return false;  // CloseIdle may have passed
  connection->idle_position_ = idle_.insert(idle_.end(), connection);
  connection->idle_ = true;
  return true;
}

void ConnectionHub::MarkBusy(Connection* connection) {
  std::lock_guard lock(mutex_);
  if (std::exchange(connection->idle_, false)) idle_.erase(connection->idle_position_);
}

// Destroying a connection takes the mutex: the last reference must not go while it is held.
std::vector<std::shared_ptr<Connection>> ConnectionHub::Idle(size_t most) {
  std::vector<std::shared_ptr<Connection>> found;
  std::lock_guard lock(mutex_);
  for (Connection* connection : idle_) {
    if (found.size() == most) break;
    if (auto reference = connection->weak_from_this().lock()) found.push_back(std::move(reference));
  }
  return found;
}

// --- One connection.

Connection::Connection(Stream::Socket socket, std::shared_ptr<asio::ssl::context> tls, ConnectionHub& hub)
    : stream_(std::move(socket), std::move(tls)),
      deadline_(stream_.get_executor()),
      look_(stream_.get_executor()),
      hub_(hub),
      // Bounded: a chunk's extensions or trailers are kept until their line ends.
      buffer_(hub.options.limits.header_bytes + kReadBytes),
      held_(*hub.options.held) {
  const Peer peer = PeerOf(stream_.socket());
  peer_ = peer.name;
  local_ = peer.local;
  hub_.Enter(this);
}

Connection::~Connection() { hub_.Leave(this); }

void Connection::Start() {
  asio::co_spawn(
      stream_.get_executor(), [self = shared_from_this()] { return self->Run(); },
      [self = shared_from_this()](const std::exception_ptr&) {});
}

void Connection::CloseIfIdle() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->idle_) self->stream_.Cancel();
  });
}

awaitable<void> Connection::Run() {
  Arm(hub_.options.limits.header);
  const error_code handshake = co_await stream_.Handshake();
  Disarm();
  if (handshake) co_return;
  while (co_await ServeOne()) {
  }
  Arm(kDiscardFor);
  co_await stream_.EndOutput();
  if (unread_) co_await DiscardInput();
  Disarm();
}

awaitable<bool> Connection::ServeOne() {
  if (!co_await FirstByte()) co_return false;
  Parser parser;
  parser.header_limit(hub_.options.limits.header_bytes);
  parser.body_limit(hub_.options.limits.body_bytes);
  Arm(hub_.options.limits.header);
  auto [header_error, header_bytes] = co_await http::async_read_header(stream_, buffer_, parser, kToken);
  Disarm();
  HttpRequest request = ReadHead(parser);
  version_ = parser.get().version() == 10 ? 10 : 11;
  Router::Match match = hub_.router.Find(request.method, request.path);
  route_ = match.route != nullptr ? std::string_view(match.route->pattern) : kNoRoute;
  const ErrorBody error_body = match.error != nullptr ? match.error : hub_.router.fallback();
  if (header_error) co_return co_await RejectRead(header_error, request, error_body);
  if (EndsNowhere(parser.get()))
    co_return co_await RejectRead(http::error::bad_transfer_encoding, request, error_body);

  request.path_parts = std::move(match.parts);
  if (std::optional<HttpReply> refusal = hub_.guard.Check(hub_.router, match, &request))
    co_return co_await Refuse(parser, request, std::move(*refusal));

  const error_code body_error = co_await ReadBody(parser);
  if (body_error) co_return co_await RejectRead(body_error, request, error_body);
  request.body = std::move(parser.get().body());
  request.body_bytes = static_cast<int64_t>(request.body.size());
  request.started = SteadyClock::Get().Now();
  HttpReply reply = co_await Answer(*match.route, request);
  request.body = std::string();  // a slow client may take its time
  held_.Set(static_cast<int64_t>(reply.body.size()));
  const bool go_on = co_await Send(std::move(reply), request, parser.keep_alive());
  held_.Set(0);
  co_return go_on;
}

awaitable<bool> Connection::FirstByte() {
  if (buffer_.size() > 0) co_return true;  // pipelined
  if (!hub_.MarkIdle(this)) co_return false;
  Arm(hub_.options.limits.idle);
  auto [ec, n] = co_await stream_.async_read_some(buffer_.prepare(4096), kToken);
  Disarm();
  hub_.MarkBusy(this);
  if (!ec) buffer_.commit(n);
  co_return !ec;
}

void Connection::Report(Code code) const {
  if (code != Code::kOk && hub_.options.on_failure) hub_.options.on_failure(route_, code);
}

HttpReply Connection::Fail(ErrorBody body, const Failure& failure) const {
  Report(failure.status.code());
  return ErrorReply(body, failure);
}

// What the client still sends is not read, so the connection ends with the reply; unless there was no body.
awaitable<bool> Connection::Refuse(const Parser& parser, const HttpRequest& request, HttpReply refusal) {
  Report(refusal.code);
  unread_ = !parser.is_done();
  co_return co_await Send(std::move(refusal), request, parser.keep_alive() && !unread_);
}

HttpRequest Connection::ReadHead(const Parser& parser) const {
  const auto& message = parser.get();
  HttpRequest request;
  request.received = request.started = SteadyClock::Get().Now();
  request.method = std::string(message.method_string());
  request.path = PathOf({message.target().data(), message.target().size()});
  for (const auto& field : message)
    request.headers.emplace_back(ToLower({field.name_string().data(), field.name_string().size()}),
                                 std::string(field.value()));
  request.peer = peer_;
  request.local = local_;
  request.request_id = RequestId(request.Header("x-request-id"));
  return request;
}

awaitable<error_code> Connection::ReadBody(Parser& parser) {
  if (parser.is_done()) co_return error_code();
  Arm(hub_.options.limits.body);
  error_code error;
  if (!parser.get()[http::field::expect].empty()) {
    auto [ec, n] =
        co_await asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()), kToken);
    error = ec;
  }
  while (!error && !parser.is_done()) {
    auto [ec, n] = co_await http::async_read_some(stream_, buffer_, parser, kToken);
    error = ec;
    if (refused_.ok())
      refused_ = held_.Grow(static_cast<int64_t>(parser.get().body().size()) - held_.bytes());
    if (!refused_.ok()) error = http::error::body_limit;
  }
  Disarm();
  co_return error;
}

// Answers what could not be read, if anybody is there to hear it.
awaitable<bool> Connection::RejectRead(const error_code& ec, const HttpRequest& request, ErrorBody error) {
  const bool malformed = ec.category() == make_error_code(http::error::bad_method).category();
  unread_ = true;
  if (timed_out_) {
    const Failure failure = {DeadlineExceeded("the request did not arrive in time"), 408};
    co_return co_await Send(Fail(error, failure), request, false);
  }
  if (!refused_.ok()) {
    const Failure failure = {refused_};  // GCC 12 frees a braced temporary within co_await twice
    co_return co_await Send(Fail(error, failure), request, false);
  }
  if (!malformed || ec == http::error::end_of_stream || ec == http::error::partial_message) co_return false;
  co_return co_await Send(Fail(error, FailureOf(ec, hub_.options.limits)), request, false);
}

// Runs the handler and waits for its reply; meanwhile watches for the client closing the connection.
awaitable<HttpReply> Connection::Answer(const Route& route, HttpRequest& request) {
  auto pending = std::make_shared<PendingReply>(stream_.get_executor());
  // Weak: what a handler keeps for longer than its call must not keep pieces of the io_context.
  const Respond respond = [owed = std::weak_ptr(pending)](ReplyMaker make) {
    const auto to = owed.lock();
    if (!to) return;
    asio::post(to->ready.get_executor(), [to, make = std::move(make)]() mutable {
      to->make = std::move(make);
      to->ready.cancel();
    });
  };
  const auto handle = [&] {
    try {
      if (const std::optional<Failure> failure = UnpackBody(&request))
        return respond([reply = Fail(route.error, *failure)] { return reply; });
      route.handler(request, respond);
    } catch (const std::exception& e) {
      respond([reply = Fail(route.error, {Internal(e.what()), 500})] { return reply; });
    }
  };
  const bool big = request.body.size() > kInlineBytes || request.Has("content-encoding");
  WatchForClose(pending, request.cancel);
  if (big) {
    co_await OnPool(handle);
  } else {
    handle();
  }
  while (!pending->make) co_await pending->ready.async_wait(kToken);
  stream_.Cancel();  // ends the watch
  look_.cancel();
  HttpReply reply;
  const auto make = [&] {
    try {
      reply = pending->make();
    } catch (const std::exception& e) {
      reply = Fail(route.error, {Internal(e.what()), 500});
    }
  };
  if (big) {
    co_await OnPool(make);
  } else {
    make();
  }
  co_return reply;
}

std::optional<Failure> Connection::UnpackBody(HttpRequest* request) {
  const std::string encoding = ToLower(request->Header("content-encoding"));
  if (encoding.empty() || encoding == "identity" || request->body.empty()) return std::nullopt;
  Result<std::string> unpacked = Unpack(request->body, hub_.options.limits.body_bytes);
  if (!unpacked.ok()) {
    const bool too_large = unpacked.status().code() == Code::kResourceExhausted;
    return Failure{unpacked.status(), too_large ? 413 : 400};
  }
  if (Status refused = held_.Grow(static_cast<int64_t>(unpacked->size())); !refused.ok())
    return Failure{std::move(refused)};
  request->body = std::move(*unpacked);
  return std::nullopt;
}

void Connection::WatchForClose(const std::shared_ptr<PendingReply>& pending, const CancelFlag& cancel) {
  stream_.socket().async_wait(Stream::Socket::wait_read,
                              [self = shared_from_this(), pending, cancel](error_code ec) {
                                if (!ec) self->LookForClose(pending, cancel);
                              });
}

// There is something to read: the end, or the next request, behind which the end is seen by looking again.
void Connection::LookForClose(const std::shared_ptr<PendingReply>& pending, const CancelFlag& cancel) {
  if (pending->make) return;
  if (stream_.PeerClosed()) return cancel.Cancel();
  look_.expires_after(kLookEvery);
  look_.async_wait([self = shared_from_this(), pending, cancel](error_code ec) {
    if (!ec) self->LookForClose(pending, cancel);
  });
}

// The strand serves others meanwhile; the server's end waits for the pool before this frame goes.
awaitable<void> Connection::OnPool(std::function<void()> work) {
  auto run = [&work]() -> awaitable<void> {
    work();
    co_return;
  };
  co_await asio::co_spawn(hub_.work, run, asio::use_awaitable);
}

awaitable<bool> Connection::Send(HttpReply reply, const HttpRequest& request, bool keep_alive) {
  keep_alive = keep_alive && !hub_.last_replies;
  co_await Complete(request, &reply);
  const auto bytes = static_cast<int64_t>(reply.body.size());
  error_code error;
  if (reply.status == 499) {
    keep_alive = false;  // nobody is left to read it
  } else if (reply.stream) {
    keep_alive = false;  // the end of the connection is the end of the body
    error = co_await WriteStream(reply, request);
  } else {
    error = co_await Write(&reply, request, keep_alive);
  }
  LogAccess(request, reply, bytes);
  co_return !error && keep_alive;
}

awaitable<error_code> Connection::Write(HttpReply* reply, const HttpRequest& request, bool keep_alive) {
  http::response<http::string_body> response(static_cast<http::status>(reply->status), version_);
  SetFields(*reply, &response);
  response.body() = std::move(reply->body);
  response.keep_alive(keep_alive);
  response.prepare_payload();
  if (reply->status == 204) response.erase(http::field::content_length);

  http::response_serializer<http::string_body> serializer(response);
  Arm(hub_.options.limits.write);
  error_code error;
  if (request.method == "HEAD") {
    auto [ec, n] = co_await http::async_write_header(stream_, serializer, kToken);
    error = ec;
  } else {
    auto [ec, n] = co_await http::async_write(stream_, serializer, kToken);
    error = ec;
  }
  Disarm();
  co_return error;
}

awaitable<error_code> Connection::WriteStream(const HttpReply& reply, const HttpRequest& request) {
  http::response<http::empty_body> response(static_cast<http::status>(reply.status), version_);
  SetFields(reply, &response);
  response.keep_alive(false);
  http::response_serializer<http::empty_body> serializer(response);
  Arm(hub_.options.limits.write);
  auto [failed, header_bytes] = co_await http::async_write_header(stream_, serializer, kToken);
  Disarm();
  if (failed || request.method == "HEAD") co_return failed;
  while (!hub_.draining && !stream_.PeerClosed()) {
    const std::string text = reply.stream->next();
    Arm(hub_.options.limits.write);
    auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(text), kToken);
    Disarm();
    if (ec) co_return ec;
    look_.expires_after(reply.stream->period);
    co_await look_.async_wait(kToken);
  }
  co_return error_code();
}

// What every reply has, and packing where it pays.
awaitable<void> Connection::Complete(const HttpRequest& request, HttpReply* reply) {
  AddTimes(ToMs(SteadyClock::Get().Now() - request.started), reply);
  reply->headers.emplace_back("x-request-id", request.request_id);
  hub_.guard.AddCors(request, reply);
  const bool packed_already = Has(reply->headers, "content-encoding");
  if (reply->stream || packed_already || reply->body.size() < kWorthGzip) co_return;
  reply->headers.emplace_back("vary", "accept-encoding");
  if (!AcceptsGzip(request)) co_return;
  co_await OnPool([reply] {
    std::string packed = Gzip(reply->body);
    if (packed.empty()) return;
    reply->body = std::move(packed);
    reply->headers.emplace_back("content-encoding", "gzip");
  });
}

void Connection::LogAccess(const HttpRequest& request, const HttpReply& reply, int64_t bytes) const {
  AccessLog* const log = hub_.options.access_log;
  if (log == nullptr || !log->on()) return;
  AccessRecord record;
  record.protocol = "http";
  record.method = request.method;
  record.route = request.path;
  record.status = reply.status;
  record.request_id = request.request_id;
  record.traceparent = TraceParent(request.Header("traceparent"));
  record.caller = request.caller.name;
  record.peer = request.peer;
  record.request_bytes = request.body_bytes;
  record.reply_bytes = bytes;
  record.total_ms = ToMs(SteadyClock::Get().Now() - request.received);
  record.scored = reply.scored;
  log->Write(record);
}

// Closing with unread input would reset the connection and could destroy the reply on its way.
awaitable<void> Connection::DiscardInput() {
  for (;;) {
    buffer_.clear();
    auto [ec, n] = co_await stream_.socket().async_read_some(buffer_.prepare(16384), kToken);
    if (ec || timed_out_) break;
  }
}

// Cancels what the socket does once `after` has passed, again and again until disarmed: a composed operation
// may just then be between two steps.
void Connection::Arm(Duration after) {
  timed_out_ = false;
  deadline_.expires_after(after);
  WaitForDeadline(++armed_);
}

void Connection::Disarm() {
  ++armed_;
  deadline_.cancel();
}

void Connection::WaitForDeadline(uint64_t armed) {
  deadline_.async_wait([self = shared_from_this(), armed](error_code ec) {
    if (ec || armed != self->armed_) return;
    self->timed_out_ = true;
    self->stream_.Cancel();
    self->deadline_.expires_after(kRetry);
    self->WaitForDeadline(armed);
  });
}

}  // namespace rerankd::serving
