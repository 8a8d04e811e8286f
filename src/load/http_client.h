// HTTP/1.1 targets: one connection for each request in flight, kept alive and used again.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "load/client.h"
#include "load/http_dialect.h"
#include "load/tls.h"

namespace rerankd::load {

struct HttpTarget {
  std::string host, port;
  std::string prefix;   // of the path; "" or "/v1"
  std::string api_key;  // sent as a bearer token unless empty
  double timeout_ms = 60'000;
  std::optional<TlsContext> tls;  // nothing: spoken to in plain HTTP
};

// Everything happens on the thread of RunUntil, which is also that of Send. A request whose kept connection
// turns out closed before a byte of its reply is sent once more on a new one.
class HttpClient final : public Client {
 public:
  // kUnavailable: the host has no address.
  static Result<std::unique_ptr<HttpClient>> Create(HttpTarget target, std::unique_ptr<HttpDialect> dialect);
  ~HttpClient() override;

  void Send(const Work& work, Done done) override;
  void RunUntil(TimePoint when) override;
  void Wake() override;

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rerankd::load
