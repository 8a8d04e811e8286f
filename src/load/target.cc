#include "load/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "load/grpc_client.h"
#include "load/http_client.h"
#include "load/http_dialect.h"
#include "load/tls.h"

namespace rerankd::load {
namespace {

struct Url {
  std::string scheme, host, port, path;
};

// "[::1]:80" or "host:port" or "host".
void SplitAuthority(std::string_view text, Url* url) {
  const size_t bracket = text.rfind(']');
  const size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  url->host = text.substr(0, has_port ? colon : std::string_view::npos);
  if (has_port) url->port = text.substr(colon + 1);
  if (url->host.starts_with('[') && url->host.ends_with(']'))
    url->host = url->host.substr(1, url->host.size() - 2);
}

Url ParseUrl(std::string_view text) {
  Url url;
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    url.scheme = text.substr(0, end);
    text.remove_prefix(end + 3);
  }
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) url.path = text.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  SplitAuthority(text.substr(0, slash), &url);
  return url;
}

bool ValidPort(const std::string& port) {
  return !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos &&
         std::stoi(port) >= 1 && std::stoi(port) <= 65535;
}

Result<std::unique_ptr<Client>> MakeHttp(const Target& target, Url url, const Workload& workload) {
  const bool tls = url.scheme == "https";
  if (url.port.empty()) url.port = tls ? "443" : "80";
  if (!ValidPort(url.port))
    return InvalidArgument(fmt::format("target {}: port '{}' is not one", target.url, url.port));
  RERANKD_ASSIGN_OR_RETURN(auto dialect, HttpDialect::Create(target.protocol, target.model, workload));
  HttpTarget http{url.host, url.port, url.path, target.api_key, target.timeout_ms, {}};
  if (tls) {
    RERANKD_ASSIGN_OR_RETURN(http.tls, TlsContext::Create(target.ca_file));
  }
  RERANKD_ASSIGN_OR_RETURN(auto client, HttpClient::Create(std::move(http), std::move(dialect)));
  return std::unique_ptr<Client>(std::move(client));
}

// gRPC finds the system's authorities by itself, and does not know OpenSSL's variable.
Result<std::string> Authorities(const std::string& ca_file) {
  if (!ca_file.empty()) return ReadAuthorities(ca_file);
  const char* named = std::getenv(
      X509_get_default_cert_file_env());  // NOLINT(concurrency-mt-unsafe): nothing here calls setenv
  return named != nullptr && *named != '\0' ? ReadFile(named) : Result<std::string>(std::string());
}

Result<std::unique_ptr<Client>> MakeGrpc(const Target& target, const Url& url, const Workload& workload) {
  if (!ValidPort(url.port) || !url.path.empty())
    return InvalidArgument(fmt::format("target {}: a gRPC target is host:port", target.url));
  GrpcTarget grpc;
  grpc.address = (url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]") + ":" + url.port;
  grpc.model = target.model;
  grpc.api_key = target.api_key;
  grpc.timeout_ms = target.timeout_ms;
  grpc.allow_no_scores = target.allow_no_scores;
  if (url.scheme == "grpcs") {
    RERANKD_ASSIGN_OR_RETURN(grpc.authorities, Authorities(target.ca_file));
  }
  return MakeGrpcClient(target.protocol, grpc, workload);
}

}  // namespace

const std::vector<std::string>& Protocols() {
  static const std::vector<std::string> kProtocols = {"rerankd", "tei-grpc", "tei",   "jina",
                                                      "cohere",  "infinity", "kserve"};
  return kProtocols;
}

Result<std::string> ReadApiKey(const std::string& path) {
  if (path.empty()) return std::string();
  RERANKD_ASSIGN_OR_RETURN(std::string key, ReadFile(path));
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  if (key.empty() || key.find_first_of("\r\n") != std::string::npos)
    return InvalidArgument(fmt::format("{}: expected one line, the key", path));
  return key;
}

Result<std::unique_ptr<Client>> MakeClient(const Target& target, const Workload& workload) {
  const auto& known = Protocols();
  if (std::find(known.begin(), known.end(), target.protocol) == known.end())
    return InvalidArgument(fmt::format("--protocol '{}' is not one of {}{}", target.protocol,
                                       Join(known, ", "), Hint(target.protocol, known)));
  const Url url = ParseUrl(target.url);
  if (url.host.empty())
    return InvalidArgument(
        fmt::format("--target '{}' has no host; write http://host:port or host:port", target.url));
  const bool grpc_url = url.scheme == "grpc" || url.scheme == "grpcs" || url.scheme.empty();
  if (!grpc_url && url.scheme != "http" && url.scheme != "https")
    return InvalidArgument(
        fmt::format("--target '{}' begins with neither http://, https://, grpc:// nor grpcs://", target.url));
  if (!target.ca_file.empty() && url.scheme != "https" && url.scheme != "grpcs")
    return InvalidArgument(fmt::format(
        "--ca-file is for targets with TLS, https:// and grpcs://; --target is '{}'", target.url));
  const bool grpc_only = target.protocol == "rerankd" || target.protocol == "tei-grpc";
  const bool over_grpc = grpc_only || (target.protocol == "kserve" && grpc_url);
  if (over_grpc != grpc_url)
    return InvalidArgument(fmt::format("--target '{}' does not fit --protocol {}, which is spoken over {}",
                                       target.url, target.protocol,
                                       over_grpc ? "gRPC: write host:port, or grpcs://host:port with TLS"
                                                 : "HTTP: write http://host:port or https://host:port"));
  return over_grpc ? MakeGrpc(target, url, workload) : MakeHttp(target, url, workload);
}

}  // namespace rerankd::load
