// One client's connection: reads requests, runs their handlers, writes the replies, in order, one at a time.
// Internal to the HTTP server: http_server.cc accepts, connection.cc serves. No other file includes Beast.
#pragma once

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serving/byte_budget.h"
#include "serving/http/guard.h"
#include "serving/http/http_server.h"
#include "serving/http/stream.h"

namespace rerankd::serving {

class Connection;

// What the connections of a server share. Outlives them.
class ConnectionHub {
 public:
  ConnectionHub(Router routes, const HttpOptions& o, asio::thread_pool& pool)
      : router(std::move(routes)), options(o), guard(o.security, o.cors), work(pool) {
    if (options.held == nullptr) options.held = std::make_shared<ByteBudget>(options.limits.buffered_bytes);
  }

  const Router router;
  HttpOptions options;  // constant after construction
  const Guard guard;
  asio::thread_pool& work;                // for big bodies: I/O threads stay free
  std::atomic<bool> last_replies{false};  // a reply closes its connection
  std::atomic<bool> draining{false};      // no new requests

  bool Full();
  void CloseLongestIdle();
  void CloseIdle();  // all of them
  // Waits until no connection is left, for up to `grace`.
  void AwaitEnd(Duration grace);

 private:
  friend class Connection;
  void Enter(Connection* connection);
  void Leave(Connection* connection);
  bool MarkIdle(Connection* connection);  // false while draining
  void MarkBusy(Connection* connection);
  std::vector<std::shared_ptr<Connection>> Idle(size_t most);

  std::mutex mutex_;
  std::condition_variable gone_;
  int count_ = 0;
  std::list<Connection*> idle_;  // the longest idle one first
};

struct PendingReply;

// All of it runs on one strand; it lives as long as its coroutine.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Stream::Socket socket, std::shared_ptr<asio::ssl::context> tls, ConnectionHub& hub);
  ~Connection();

  void Start();
  void CloseIfIdle();  // from any thread

 private:
  friend class ConnectionHub;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  asio::awaitable<void> Run();
  asio::awaitable<bool> ServeOne();  // false when the connection is to be closed
  asio::awaitable<bool> FirstByte();
  void Report(Code code) const;
  HttpReply Fail(ErrorBody body, const Failure& failure) const;  // reports it too
  asio::awaitable<bool> Refuse(const Parser& parser, const HttpRequest& request, HttpReply refusal);
  HttpRequest ReadHead(const Parser& parser) const;
  asio::awaitable<error_code> ReadBody(Parser& parser);
  asio::awaitable<bool> RejectRead(const error_code& ec, const HttpRequest& request, ErrorBody error);

  asio::awaitable<HttpReply> Answer(const Route& route, HttpRequest& request);
  std::optional<Failure> UnpackBody(HttpRequest* request);
  void WatchForClose(const std::shared_ptr<PendingReply>& pending, const CancelFlag& cancel);
  void LookForClose(const std::shared_ptr<PendingReply>& pending, const CancelFlag& cancel);
  asio::awaitable<void> OnPool(std::function<void()> work);

  asio::awaitable<bool> Send(HttpReply reply, const HttpRequest& request, bool keep_alive);
  asio::awaitable<error_code> Write(HttpReply* reply, const HttpRequest& request, bool keep_alive);
  asio::awaitable<error_code> WriteStream(const HttpReply& reply, const HttpRequest& request);
  asio::awaitable<void> Complete(const HttpRequest& request, HttpReply* reply);
  void LogAccess(const HttpRequest& request, const HttpReply& reply, int64_t bytes) const;
  asio::awaitable<void> DiscardInput();

  void Arm(Duration after);
  void Disarm();
  void WaitForDeadline(uint64_t armed);

  Stream stream_;
  asio::steady_timer deadline_;
  asio::steady_timer look_;  // for the client closing the connection while its reply is made
  ConnectionHub& hub_;
  std::string_view route_ = kNoRoute;  // of the request at hand
  std::string peer_;
  bool local_ = false;  // the client is on this machine
  boost::beast::flat_buffer buffer_;
  ByteBudget::Share held_;  // the body of the request, then its reply
  uint64_t armed_ = 0;
  bool timed_out_ = false;
  bool idle_ = false;
  bool unread_ = false;    // input may remain that will not be read
  Status refused_;         // why the body was given up, if because of server.max_buffered_bytes
  unsigned version_ = 11;  // of HTTP, as the client speaks it
  std::list<Connection*>::iterator idle_position_;
};

}  // namespace rerankd::serving
