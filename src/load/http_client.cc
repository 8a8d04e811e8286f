#include "load/http_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "load/stage_times.h"

namespace rerankd::load {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;
using Response = http::response<http::string_body>;
using Parser = http::response_parser<http::string_body>;

constexpr size_t kMaxReplyBytes = 256 << 20;
constexpr size_t kShownBytes = 200;  // of an error's body

struct Connection {
  explicit Connection(asio::io_context& io) : socket(io.get_executor()) {}
  Socket socket;
  boost::beast::flat_buffer buffer;
};

struct Exchange {
  Work work;
  Client::Done done;
  std::string bytes;  // the whole request
  TimePoint deadline;
  std::unique_ptr<Connection> connection;
  std::optional<Parser> parser;
  std::list<std::shared_ptr<Exchange>>::iterator position;  // in the list of the active ones
  bool kept = false;                                        // the connection carried an earlier request
  bool answered = false;                                    // `done` was called
};
using ExchangePtr = std::shared_ptr<Exchange>;

std::string_view Field(const Response& response, std::string_view name) {
  const auto it = response.find(boost::beast::string_view(name.data(), name.size()));
  return it == response.end() ? std::string_view() : std::string_view(it->value().data(), it->value().size());
}

void ReadHeaders(const Response& response, Reply* reply) {
  reply->retry_after_s = NonNegative(Field(response, "Retry-After"));
  reply->queue_ms = NonNegative(Field(response, "x-queue-time"));
  reply->tokenize_ms = NonNegative(Field(response, "x-tokenization-time"));
  reply->inference_ms = NonNegative(Field(response, "x-inference-time"));
  ReadServerTiming(Field(response, "Server-Timing"), reply);
}

Outcome OutcomeOf(int status) {
  if (status == 429) return Outcome::kRefused;
  if (status == 408 || status == 504) return Outcome::kTimeout;
  return status == 200 ? Outcome::kOk : Outcome::kError;
}

}  // namespace

struct HttpClient::Impl {
  Impl(const HttpTarget& t, std::unique_ptr<HttpDialect> d) : timer(io), target(t), dialect(std::move(d)) {
    head = fmt::format(
        "POST {}{} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\nAccept: "
        "application/json\r\n",
        target.prefix, dialect->path(), target.host, target.port);
    if (!target.api_key.empty()) head += fmt::format("Authorization: Bearer {}\r\n", target.api_key);
  }

  Status Resolve() {
    error_code error;
    const auto found = tcp::resolver(io).resolve(target.host, target.port, error);
    if (error) return Unavailable(fmt::format("{}:{}: {}", target.host, target.port, error.message()));
    endpoints.assign(found.begin(), found.end());
    return {};
  }

  void Send(const Work& work, Done done) {
    auto exchange = std::make_shared<Exchange>();
    exchange->work = work;
    exchange->done = std::move(done);
    exchange->deadline = std::chrono::steady_clock::now() + FromMs(target.timeout_ms);
    const std::string body = dialect->Body(work);
    exchange->bytes = fmt::format("{}Content-Length: {}\r\n\r\n{}", head, body.size(), body);
    exchange->position = active.insert(active.end(), exchange);
    if (idle.empty()) return Connect(exchange);
    exchange->connection = std::move(idle.back());  // the one used last: least likely to be timed out
    idle.pop_back();
    exchange->kept = true;
    Write(exchange);
  }

  void Connect(const ExchangePtr& exchange) {
    exchange->kept = false;
    exchange->connection = std::make_unique<Connection>(io);
    asio::async_connect(exchange->connection->socket, endpoints,
                        [this, exchange](error_code error, const tcp::endpoint&) {
                          if (exchange->answered) return;
                          if (error) return Broken(exchange, error);
                          exchange->connection->socket.set_option(tcp::no_delay(true), error);
                          Write(exchange);
                        });
  }

  void Write(const ExchangePtr& exchange) {
    asio::async_write(
        exchange->connection->socket, asio::buffer(exchange->bytes),
        [this, exchange](error_code error, size_t) {
          if (exchange->answered) return;
          // A target may answer and close before it has read the whole body: what it says counts.
          if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset)
            return Broken(exchange, error);
          Await(exchange);
        });
  }

  // Reading at once would only learn that nothing is there yet.
  void Await(const ExchangePtr& exchange) {
    exchange->connection->socket.async_wait(Socket::wait_read, [this, exchange](error_code error) {
      if (exchange->answered) return;
      if (error) return Broken(exchange, error);
      Read(exchange);
    });
  }

  void Read(const ExchangePtr& exchange) {
    exchange->parser.emplace();
    exchange->parser->body_limit(kMaxReplyBytes);
    http::async_read(exchange->connection->socket, exchange->connection->buffer, *exchange->parser,
                     [this, exchange](error_code error, size_t) {
                       if (exchange->answered) return;
                       if (error) return Broken(exchange, error);
                       Answered(exchange);
                     });
  }

  // A kept connection may have been closed by the target meanwhile; that is not the request's fault.
  void Broken(const ExchangePtr& exchange, error_code error) {
    const bool got_nothing = !exchange->parser || !exchange->parser->got_some();
    if (exchange->kept && got_nothing) {
      exchange->parser.reset();
      return Connect(exchange);
    }
    Reply reply;
    reply.received = std::chrono::steady_clock::now();
    const bool not_http = error.category() == http::make_error_code(http::error::bad_version).category() &&
                          error != http::error::end_of_stream && error != http::error::partial_message;
    reply.outcome = not_http ? Outcome::kGarbage : Outcome::kUnreachable;
    reply.detail = fmt::format("{}:{}: {}", target.host, target.port, error.message());
    Finish(exchange, std::move(reply));
  }

  void Answered(const ExchangePtr& exchange) {
    Reply reply;
    reply.received = std::chrono::steady_clock::now();
    const Response& response = exchange->parser->get();
    reply.status = static_cast<int>(response.result_int());
    reply.outcome = OutcomeOf(reply.status);
    ReadHeaders(response, &reply);
    if (reply.outcome == Outcome::kOk)
      dialect->ReadScores(response.body(), exchange->work, &reply);
    else
      reply.detail = fmt::format("HTTP {}: {}", reply.status, response.body().substr(0, kShownBytes));
    if (response.keep_alive()) idle.push_back(std::move(exchange->connection));
    Finish(exchange, std::move(reply));
  }

  void Finish(const ExchangePtr& exchange, Reply reply) {
    exchange->answered = true;
    active.erase(exchange->position);
    exchange->done(std::move(reply));
  }

  // All have the same timeout, so the oldest is first.
  void ExpireOverdue() {
    const TimePoint now = std::chrono::steady_clock::now();
    while (!active.empty() && active.front()->deadline <= now) {
      const ExchangePtr exchange = active.front();
      error_code ignored;
      exchange->connection->socket.close(ignored);
      Reply reply;
      reply.received = now;
      reply.outcome = Outcome::kTimeout;
      reply.detail = fmt::format("no reply within {:.0f} ms", target.timeout_ms);
      Finish(exchange, std::move(reply));
    }
  }

  void RunUntil(TimePoint when) {
    due = false;
    timer.expires_at(active.empty() ? when : std::min(when, active.front()->deadline));
    timer.async_wait([this](error_code error) { due = due || !error; });
    while (!woken && !due) io.run_one();
    woken = false;
    ExpireOverdue();
  }

  asio::io_context io{1};
  // Without it the context stops for good whenever neither a request nor the timer is pending.
  const asio::executor_work_guard<asio::io_context::executor_type> alive{io.get_executor()};
  // The context's own timed wait rounds up to milliseconds; a timer is a timerfd and does not.
  asio::steady_timer timer;
  const HttpTarget target;
  const std::unique_ptr<HttpDialect> dialect;
  std::string head;  // of every request, without the length of its body
  std::vector<tcp::endpoint> endpoints;
  std::list<ExchangePtr> active;  // oldest first
  std::vector<std::unique_ptr<Connection>> idle;
  bool woken = false, due = false;
};

Result<std::unique_ptr<HttpClient>> HttpClient::Create(const HttpTarget& target,
                                                       std::unique_ptr<HttpDialect> dialect) {
  auto impl = std::make_unique<Impl>(target, std::move(dialect));
  RERANKD_RETURN_IF_ERROR(impl->Resolve());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;
void HttpClient::Send(const Work& work, Done done) { impl_->Send(work, std::move(done)); }
void HttpClient::RunUntil(TimePoint when) { impl_->RunUntil(when); }
void HttpClient::Wake() { impl_->woken = true; }

}  // namespace rerankd::load
