#include "load/http_client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "load/poller.h"
#include "load/stage_times.h"

namespace rerankd::load {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

constexpr size_t kMaxReplyBytes = 256 << 20;
constexpr size_t kShownBytes = 200;  // of an error's body
constexpr size_t kReadBytes = 64 << 10;

Outcome OutcomeOf(int status) {
  if (status == 429) return Outcome::kRefused;
  if (status == 408 || status == 504) return Outcome::kTimeout;
  return status == 200 ? Outcome::kOk : Outcome::kError;
}

// Keeps the body and what a Reply wants of the head.
class ReplyParser final : public http::basic_parser<false> {
 public:
  explicit ReplyParser(std::string* body) : body_(*body) {
    body_.clear();
    body_limit(kMaxReplyBytes);
    eager(true);
  }
  Reply& reply() { return reply_; }

 private:
  void on_request_impl(http::verb, string_view, string_view, int, error_code&) override {}
  void on_response_impl(int code, string_view, int, error_code&) override { reply_.status = code; }
  void on_field_impl(http::field field, string_view name, string_view value, error_code&) override {
    if (field == http::field::retry_after) reply_.retry_after_s = NonNegative(value);
    if (field != http::field::unknown) return;
    if (boost::beast::iequals(name, "x-queue-time")) reply_.queue_ms = NonNegative(value);
    if (boost::beast::iequals(name, "x-tokenization-time")) reply_.tokenize_ms = NonNegative(value);
    if (boost::beast::iequals(name, "x-inference-time")) reply_.inference_ms = NonNegative(value);
    if (boost::beast::iequals(name, "server-timing")) ReadServerTiming(value, &reply_);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view part, error_code&) override {
    body_.append(part.data(), part.size());
    return part.size();
  }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view part, error_code& error) override {
    if (body_.size() + part.size() > kMaxReplyBytes) error = http::error::body_limit;
    return on_body_impl(part, error);
  }
  void on_finish_impl(error_code&) override {}

  std::string& body_;
  Reply reply_;
};

// A connection and the request on it; both may be missing.
struct Slot {
  enum class State { kIdle, kConnecting, kShakingHands, kSending, kReceiving, kBroken };

  std::list<Slot>::iterator self;
  int fd = -1;
  std::optional<TlsStream> tls;  // of the connection
  State state = State::kIdle;
  size_t address = 0;  // of the target, that is being tried

  Work work;
  Client::Done done;
  TimePoint deadline;
  std::string request;
  size_t sent = 0;
  std::string rest;  // received, and not enough for the parser
  std::string body;
  std::optional<ReplyParser> parser;  // from the first byte of the reply on
  bool kept = false;                  // the connection carried an earlier request
  Reply failure;                      // when kBroken
};

struct Address {
  sockaddr_storage bytes;
  socklen_t size;
};

}  // namespace

struct HttpClient::Impl {
  Impl(HttpTarget t, std::unique_ptr<HttpDialect> d) : target(std::move(t)), dialect(std::move(d)) {
    head = fmt::format(
        "POST {}{} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: "
        "application/json\r\n",
        target.prefix, dialect->path(), Authority());
    if (!target.api_key.empty()) head += fmt::format("Authorization: Bearer {}\r\n", target.api_key);
    head += "Content-Length: ";
  }

  ~Impl() {
    for (std::list<Slot>* slots : {&active, &idle})
      for (Slot& slot : *slots) Close(slot);
  }

  // "host:port", "[::1]:port".
  std::string Authority() const {
    const bool is_ipv6 = target.host.find(':') != std::string::npos;
    return (is_ipv6 ? '[' + target.host + ']' : target.host) + ':' + target.port;
  }

  Status Resolve() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found);
    if (error != 0) return Unavailable(fmt::format("{}: {}", Authority(), gai_strerror(error)));
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
      addresses.push_back({{}, a->ai_addrlen});
      std::memcpy(&addresses.back().bytes, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    return {};
  }

  void Send(const Work& work, Done done) {
    // Connections wait at the back, the one used last behind all: least likely to be timed out.
    if (idle.empty()) idle.emplace_back();
    active.splice(active.end(), idle, std::prev(idle.end()));
    Slot& slot = active.back();
    slot.self = std::prev(active.end());
    slot.work = work;
    slot.done = std::move(done);
    slot.deadline = std::chrono::steady_clock::now() + FromMs(target.timeout_ms);
    dialect->WriteBody(work, &body);
    slot.request = head;
    slot.request += fmt::format_int(body.size()).c_str();
    slot.request += "\r\n\r\n";
    slot.request += body;
    slot.sent = 0;
    slot.rest.clear();
    slot.parser.reset();
    slot.kept = slot.fd >= 0;
    slot.kept ? Write(slot) : Connect(slot, 0);
  }

  void Connect(Slot& slot, size_t address) {
    Close(slot);
    slot.kept = false;
    slot.state = Slot::State::kConnecting;
    slot.address = address;
    const Address& to = addresses[address];
    slot.fd = socket(to.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot.fd < 0) return Broken(slot, std::strerror(errno));
    const int yes = 1;
    setsockopt(slot.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (connect(slot.fd, reinterpret_cast<const sockaddr*>(&to.bytes), to.size) != 0 && errno != EINPROGRESS)
      return NotConnected(slot, errno);
    if (!poller.Add(slot.fd, EPOLLIN | EPOLLOUT, &slot)) Broken(slot, std::strerror(errno));
  }

  void NotConnected(Slot& slot, int error) {
    if (slot.address + 1 < addresses.size()) return Connect(slot, slot.address + 1);
    Broken(slot, std::strerror(error));
  }

  void Handle(Slot& slot, uint32_t events) {
    switch (slot.state) {
      case Slot::State::kIdle:  // closed by the target, or it said something unasked
        idle.splice(idle.begin(), idle, slot.self);
        return Close(slot);
      case Slot::State::kConnecting:
        return Connected(slot);
      case Slot::State::kShakingHands:
        return ShakeHands(slot);
      case Slot::State::kSending:
        Write(slot);
        if (slot.state == Slot::State::kSending && (events & EPOLLIN) != 0) Read(slot);
        return;
      case Slot::State::kReceiving:
        return Read(slot);
      case Slot::State::kBroken:
        return;
    }
  }

  void Connected(Slot& slot) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(slot.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return NotConnected(slot, error);
    if (target.tls) {
      slot.tls.emplace(*target.tls, slot.fd, target.host);
      slot.state = Slot::State::kShakingHands;
      return ShakeHands(slot);
    }
    slot.state = Slot::State::kSending;
    Write(slot);
  }

  void ShakeHands(Slot& slot) {
    const bool done = slot.tls->Handshake() == 0;
    if (!done && errno != EAGAIN) return Broken(slot, slot.tls->fault());
    poller.Change(slot.fd, done || slot.tls->wants_room() ? EPOLLIN | EPOLLOUT : EPOLLIN, &slot);
    if (!done) return;
    slot.state = Slot::State::kSending;
    Write(slot);
  }

  // As send(2) and recv(2).
  static ssize_t SendSome(Slot& slot) {
    const auto rest = std::span<const char>(slot.request).subspan(slot.sent);
    return slot.tls ? slot.tls->Send(rest) : send(slot.fd, rest.data(), rest.size(), MSG_NOSIGNAL);
  }
  static ssize_t ReceiveSome(Slot& slot, std::span<char> room) {
    return slot.tls ? slot.tls->Receive(room) : recv(slot.fd, room.data(), room.size(), 0);
  }
  static std::string Why(const Slot& slot, int error) {
    return slot.tls && error == EPROTO ? slot.tls->fault() : std::strerror(error);
  }

  // From kSending the descriptor is watched for room too.
  void Write(Slot& slot) {
    while (slot.sent < slot.request.size()) {
      const ssize_t sent = SendSome(slot);
      if (sent >= 0) {
        slot.sent += static_cast<size_t>(sent);
      } else if (errno == EAGAIN) {
        if (slot.state != Slot::State::kSending) poller.Change(slot.fd, EPOLLIN | EPOLLOUT, &slot);
        slot.state = Slot::State::kSending;
        return;
      } else if (errno == EPIPE || errno == ECONNRESET) {
        break;  // A target may answer and close before it has read the whole body: what it says counts.
      } else if (errno != EINTR) {
        return Lost(slot, Why(slot, errno));
      }
    }
    if (slot.state == Slot::State::kSending) poller.Change(slot.fd, EPOLLIN, &slot);
    slot.state = Slot::State::kReceiving;
  }

  void Read(Slot& slot) {
    const ssize_t size = ReceiveSome(slot, buffer);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) return Lost(slot, Why(slot, errno));
    if (size == 0) return Ended(slot);
    if (!slot.parser) slot.parser.emplace(&slot.body);
    error_code error;
    std::string_view bytes(buffer.data(), static_cast<size_t>(size));
    if (!slot.rest.empty()) bytes = slot.rest += bytes;
    while (!bytes.empty() && !slot.parser->is_done() && !error)
      bytes.remove_prefix(slot.parser->put(boost::asio::buffer(bytes), error));
    if (error == http::error::need_more) error = {};
    if (error) return Broken(slot, error.message(), Outcome::kGarbage);
    if (slot.parser->is_done()) return Answered(slot, bytes.empty());
    slot.rest = std::string(bytes);
  }

  // The target closed the connection. Only a body without a length ends with it.
  void Ended(Slot& slot) {
    error_code error = http::make_error_code(http::error::end_of_stream);
    if (slot.parser && slot.parser->is_header_done()) slot.parser->put_eof(error = {});
    if (!error && slot.parser->is_done()) return Answered(slot, false);
    if (slot.parser && !error) error = http::make_error_code(http::error::partial_message);
    std::string why = error.message();
    if (!slot.parser && !slot.tls) why += ": closed without an answer (a target with TLS is https://)";
    Lost(slot, why);
  }

  // A kept connection may have been closed by the target meanwhile; that is not the request's fault.
  void Lost(Slot& slot, const std::string& why) {
    if (slot.kept && !slot.parser) {
      slot.sent = 0;
      return Connect(slot, 0);
    }
    Broken(slot, why);
  }

  // Is told from RunUntil: this may be within Send.
  void Broken(Slot& slot, const std::string& why, Outcome outcome = Outcome::kUnreachable) {
    slot.state = Slot::State::kBroken;
    slot.failure = {};
    slot.failure.received = std::chrono::steady_clock::now();
    slot.failure.outcome = outcome;
    slot.failure.detail = fmt::format("{}: {}", Authority(), why);
    Close(slot);  // only now: `why` may be its session's
    broken.push_back(&slot);
  }

  void Answered(Slot& slot, bool at_end) {
    Reply reply = std::move(slot.parser->reply());
    reply.received = std::chrono::steady_clock::now();
    reply.outcome = OutcomeOf(reply.status);
    if (reply.outcome == Outcome::kOk)
      dialect->ReadScores(slot.body, slot.work, &reply);
    else
      reply.detail = fmt::format("HTTP {}: {}", reply.status, slot.body.substr(0, kShownBytes));
    const bool reusable = at_end && slot.parser->keep_alive() && slot.sent == slot.request.size();
    if (!reusable) Close(slot);
    Finish(slot, std::move(reply));
  }

  void Finish(Slot& slot, Reply reply) {
    slot.state = Slot::State::kIdle;
    idle.splice(slot.fd >= 0 ? idle.end() : idle.begin(), active, slot.self);
    const Done done = std::move(slot.done);
    done(std::move(reply));
  }

  void Close(Slot& slot) {
    slot.tls.reset();
    if (slot.fd >= 0) close(slot.fd);
    slot.fd = -1;
  }

  void TellBroken() {
    std::vector<Slot*> now_broken;
    now_broken.swap(broken);
    for (Slot* slot : now_broken) Finish(*slot, std::move(slot->failure));
  }

  // All have the same timeout, so the oldest is first. What is broken was told before.
  void ExpireOverdue(TimePoint now) {
    while (!active.empty() && active.front().deadline <= now && broken.empty()) {
      Slot& slot = active.front();
      Close(slot);
      Reply reply;
      reply.received = now;
      reply.outcome = Outcome::kTimeout;
      reply.detail = fmt::format("no reply within {:.0f} ms", target.timeout_ms);
      Finish(slot, std::move(reply));
    }
  }

  void RunUntil(TimePoint when) {
    TimePoint now = std::chrono::steady_clock::now();
    do {
      TimePoint wake = active.empty() ? when : std::min(when, active.front().deadline);
      if (!broken.empty()) wake = now;
      for (const epoll_event& event : poller.Wait(wake - now))
        Handle(*static_cast<Slot*>(event.data.ptr), event.events);
      if (!broken.empty()) TellBroken();
      now = std::chrono::steady_clock::now();
      ExpireOverdue(now);
    } while (!woken && now < when);
    woken = false;
  }

  const HttpTarget target;
  const std::unique_ptr<HttpDialect> dialect;
  std::string head;  // of every request, up to the length of its body
  std::vector<Address> addresses;
  Poller poller;
  // Slots never move in memory: the poller knows them by their address.
  std::list<Slot> active;  // with a request, oldest first
  std::list<Slot> idle;    // those without a connection first
  std::vector<Slot*> broken;
  std::string body;  // of the request that is being made
  std::vector<char> buffer = std::vector<char>(kReadBytes);
  bool woken = false;
};

Result<std::unique_ptr<HttpClient>> HttpClient::Create(HttpTarget target,
                                                       std::unique_ptr<HttpDialect> dialect) {
  auto impl = std::make_unique<Impl>(std::move(target), std::move(dialect));
  RERANKD_RETURN_IF_ERROR(impl->Resolve());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;
void HttpClient::Send(const Work& work, Done done) { impl_->Send(work, std::move(done)); }
void HttpClient::RunUntil(TimePoint when) { impl_->RunUntil(when); }
void HttpClient::Wake() { impl_->woken = true; }

}  // namespace rerankd::load
