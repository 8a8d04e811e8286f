// The two HTTP requests that a model hub needs, over libcurl: proxies from the usual environment variables, a
// custom CA from SSL_CERT_FILE, CURL_CA_BUNDLE or REQUESTS_CA_BUNDLE. Redirects are left to the caller, who
// must not send a token to another host. Blocking; one object a thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd::hub {

struct HttpReply {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // empty where a sink took it

  // The value of a header, empty if absent.
  std::string Header(const std::string& name) const;
};

struct HttpRequest {
  std::string url;
  std::string token;        // sent as "Authorization: Bearer"; empty = none
  bool head = false;        // HEAD instead of GET
  int64_t resume_from = 0;  // asks for the bytes from here on
  // Takes the body of a 200 or 206 reply piece by piece instead of HttpReply::body; false stops the transfer.
  // `reply` has status and headers, not the body.
  std::function<bool(const HttpReply& reply, std::string_view piece)> sink;
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any complete reply is a value, whatever its status. kUnavailable: no connection, or it was cut.
  // kCancelled: the sink stopped it. kFailedPrecondition: a certificate that is not trusted.
  Result<HttpReply> Send(const HttpRequest& request);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace rerankd::hub
