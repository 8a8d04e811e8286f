// An HTTP/1.1 server core: connections, limits, timeouts, keep-alive, TLS, drain. It knows nothing of routes
// but the table. Requests of one connection are answered in order, one at a time (pipelining-safe).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "config/settings.h"
#include "serving/access_log.h"
#include "serving/byte_budget.h"
#include "serving/http/router.h"
#include "serving/security.h"

namespace rerankd::serving {

struct HttpListen {
  std::string host;
  int port = 0;             // 0 = any free one
  std::string setting;      // named in errors: "server.http_port"
  std::string unix_socket;  // "" = none; the path of a socket that is made, and removed at the end
};

struct HttpLimits {
  uint64_t body_bytes = 32 << 20;
  int64_t buffered_bytes = 512 << 20;  // of all bodies and replies together
  uint32_t header_bytes = 16 << 10;
  int connections = 10'000;
  int threads = 2;                             // I/O threads; they parse and format, never score
  Duration idle = std::chrono::seconds(75);    // between requests
  Duration header = std::chrono::seconds(10);  // first byte until the header is complete
  Duration body = std::chrono::seconds(60);    // the whole body
  Duration write = std::chrono::seconds(60);   // the whole reply
};

constexpr std::string_view kNoRoute = "none";

struct HttpOptions {
  HttpLimits limits;
  std::vector<std::string> cors;       // origins whose pages may read replies; "*" = every one
  const Security* security = nullptr;  // null: no keys, no TLS. Outlives the server
  AccessLog* access_log = nullptr;     // null: none. Outlives the server
  // Told of requests that fail before a handler has them, and of handlers that throw. `route` is the pattern,
  // or kNoRoute. Called on any thread; null: nobody is told.
  std::function<void(std::string_view route, Code code)> on_failure;
  std::shared_ptr<ByteBudget> held;  // shared with other servers; null: limits.buffered_bytes for this one
};

// As the settings say, without security and access log.
HttpOptions MakeHttpOptions(const ServerSettings& settings);

class HttpServer {
 public:
  // Listens and serves at once. kUnavailable names the address that cannot be had.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpListen& listen, const HttpOptions& options,
                                                   Router router);
  // Shutdown(0). No handler may still owe a reply: drain what the handlers feed first.
  ~HttpServer();

  std::string address() const;  // "host:port" as bound

  // From now on every reply is the last one of its connection. New ones are still taken: they are told that
  // the server drains.
  void AnnounceDrain();

  // Takes no new connections, closes idle ones, lets running requests finish for up to `grace`, then closes.
  void Shutdown(Duration grace);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::serving
