// What is decided about a request before its body is read: route, caller, encoding, cross-origin rules.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serving/http/router.h"
#include "serving/security.h"

namespace rerankd::serving {

class Guard {
 public:
  // `security` null: no keys. `cors`: origins, or "*" for every one; empty = none.
  Guard(const Security* security, std::vector<std::string> cors)
      : security_(security), cors_(std::move(cors)) {}

  // The reply that ends the request here (an error, or the answer to a CORS preflight); nothing when it may
  // go on. Then `request->caller` is set.
  std::optional<HttpReply> Check(const Router& router, const Router::Match& match,
                                 HttpRequest* request) const;

  // The headers that let a page of an allowed origin read the reply.
  void AddCors(const HttpRequest& request, HttpReply* reply) const;

 private:
  bool OriginAllowed(std::string_view origin) const;
  std::optional<HttpReply> Preflight(const Router::Match& match, const HttpRequest& request) const;
  std::optional<Failure> CheckAccess(const Route& route, HttpRequest* request) const;

  const Security* const security_;
  const std::vector<std::string> cors_;
};

}  // namespace rerankd::serving
