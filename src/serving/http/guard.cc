#include "serving/http/guard.h"

#include <algorithm>

namespace rerankd::serving {
namespace {

constexpr const char* kExposed =
    "x-request-id, x-model, x-queue-time, x-tokenization-time, x-inference-time, x-total-time, "
    "x-compute-time, x-compute-type, x-compute-characters, x-compute-tokens, x-truncated-documents, "
    "server-timing, retry-after, inference-header-content-length";

// Types that a page of another origin could send without asking are not among them.
bool IsJsonOrBinary(std::string_view content_type) {
  const std::string_view type = content_type.substr(0, content_type.find(';'));
  return type.find("json") != std::string_view::npos || type.find("octet-stream") != std::string_view::npos;
}

bool IsKnownEncoding(std::string_view encoding) {
  return encoding.empty() || encoding == "identity" || encoding == "gzip" || encoding == "deflate";
}

// A browser says so when the page that sends a request comes from elsewhere.
bool IsCrossSite(const HttpRequest& request) {
  const std::string_view site = request.Header("sec-fetch-site");
  return request.Has("origin") || (!site.empty() && site != "same-origin" && site != "none");
}

std::optional<Failure> CheckBody(const HttpRequest& request) {
  const std::string_view type = request.Header("content-type");
  if (request.method == "POST" && !type.empty() && !IsJsonOrBinary(type))
    return Failure{
        InvalidArgument("content-type '" + std::string(type) + "' is not JSON: send application/json"), 415};
  const std::string encoding = ToLower(request.Header("content-encoding"));
  if (!IsKnownEncoding(encoding))
    return Failure{InvalidArgument("content-encoding '" + encoding +
                                   "' is not supported: send gzip, deflate, or the body as it is"),
                   415};
  const std::string expect = ToLower(request.Header("expect"));
  if (!expect.empty() && expect != "100-continue")
    return Failure{InvalidArgument("expect '" + expect + "' is not supported, only 100-continue"), 417};
  return std::nullopt;
}

HttpReply NoSuchMethod(ErrorBody error, const HttpRequest& request, const std::string& allow) {
  HttpReply reply = ErrorReply(
      error,
      {InvalidArgument("'" + request.path + "' does not answer " + request.method + ", only " + allow), 405});
  reply.headers.emplace_back("allow", allow);
  return reply;
}

HttpReply Refused(const Route& route, const Failure& failure) {
  HttpReply reply = ErrorReply(route.error, failure);
  if (reply.status == 401) reply.headers.emplace_back("www-authenticate", "Bearer");
  return reply;
}

}  // namespace

std::optional<HttpReply> Guard::Check(const Router& router, const Router::Match& match,
                                      HttpRequest* request) const {
  if (match.route == nullptr && match.allow.empty())
    return ErrorReply(router.fallback(), {NotFound("no route '" + request->path + "' here"), 404});
  if (std::optional<HttpReply> preflight = Preflight(match, *request)) return preflight;
  if (match.route == nullptr) return NoSuchMethod(match.error, *request, match.allow);
  if (const auto failure = CheckAccess(*match.route, request)) return Refused(*match.route, *failure);
  if (const auto failure = CheckBody(*request)) return Refused(*match.route, *failure);
  return std::nullopt;
}

bool Guard::OriginAllowed(std::string_view origin) const {
  return std::any_of(cors_.begin(), cors_.end(),
                     [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

std::optional<HttpReply> Guard::Preflight(const Router::Match& match, const HttpRequest& request) const {
  const bool asks = request.method == "OPTIONS" && request.Has("access-control-request-method");
  if (!asks || !OriginAllowed(request.Header("origin"))) return std::nullopt;
  HttpReply reply;
  reply.status = 204;
  reply.content_type = "";
  reply.headers = {{"access-control-allow-methods", match.allow}, {"access-control-max-age", "600"}};
  // Of an allowed origin every header may come: Authorization and what client libraries add.
  const std::string_view headers = request.Header("access-control-request-headers");
  if (!headers.empty()) reply.headers.emplace_back("access-control-allow-headers", std::string(headers));
  return reply;
}

void Guard::AddCors(const HttpRequest& request, HttpReply* reply) const {
  if (cors_.empty()) return;
  reply->headers.emplace_back("vary", "origin");
  const std::string_view origin = request.Header("origin");
  if (origin.empty() || !OriginAllowed(origin)) return;
  reply->headers.emplace_back("access-control-allow-origin", std::string(origin));
  reply->headers.emplace_back("access-control-expose-headers", kExposed);
}

std::optional<Failure> Guard::CheckAccess(const Route& route, HttpRequest* request) const {
  const bool needs_key = security_ != nullptr && security_->needs_key();
  if (route.access == Access::kOpen) return std::nullopt;
  if (needs_key) {
    const std::optional<Caller> caller = security_->Authenticate(request->Header("authorization"));
    if (!caller)
      return Failure{InvalidArgument("an API key is needed: send 'Authorization: Bearer KEY'"), 401};
    request->caller = *caller;
    if (route.access == Access::kAdmin && !caller->admin)
      return Failure{InvalidArgument("'" + request->path + "' needs the API key of an administrator"), 403};
    return std::nullopt;
  }
  if (route.access == Access::kAdmin && (!request->local || IsCrossSite(*request)))
    return Failure{InvalidArgument("'" + request->path +
                                   "' answers this machine only, or the API key of an administrator"),
                   403};
  return std::nullopt;
}

}  // namespace rerankd::serving
