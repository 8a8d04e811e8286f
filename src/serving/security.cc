#include "serving/security.h"

#include <utility>

namespace rerankd::serving {
namespace {

Result<std::shared_ptr<const ApiKeys>> LoadKeys(const std::string& path) {
  if (path.empty()) return std::shared_ptr<const ApiKeys>();
  RERANKD_ASSIGN_OR_RETURN(ApiKeys keys, ApiKeys::Load(path));
  return std::shared_ptr<const ApiKeys>(std::make_shared<const ApiKeys>(std::move(keys)));
}

Result<std::shared_ptr<const TlsPem>> LoadTls(const std::string& certificate, const std::string& key) {
  if (certificate.empty() && key.empty()) return std::shared_ptr<const TlsPem>();
  if (certificate.empty() || key.empty())
    return InvalidArgument("server.tls.cert and server.tls.key belong together: set both or neither");
  RERANKD_ASSIGN_OR_RETURN(TlsPem pem, LoadTlsPem(certificate, key));
  return std::shared_ptr<const TlsPem>(std::make_shared<const TlsPem>(std::move(pem)));
}

}  // namespace

Security::Security(const ServerSettings& settings)
    : api_key_file_(settings.api_key_file), tls_cert_(settings.tls_cert), tls_key_(settings.tls_key) {}

Result<std::unique_ptr<Security>> Security::Load(const ServerSettings& settings) {
  std::unique_ptr<Security> security(new Security(settings));
  RERANKD_RETURN_IF_ERROR(security->Reload());
  return security;
}

Status Security::Reload() {
  RERANKD_ASSIGN_OR_RETURN(auto keys, LoadKeys(api_key_file_));
  RERANKD_ASSIGN_OR_RETURN(auto tls, LoadTls(tls_cert_, tls_key_));
  std::lock_guard lock(mutex_);
  keys_ = std::move(keys);
  tls_ = std::move(tls);
  return {};
}

std::optional<Caller> Security::Authenticate(std::string_view authorization) const {
  std::shared_ptr<const ApiKeys> keys;
  {
    std::lock_guard lock(mutex_);
    keys = keys_;
  }
  return keys ? keys->Find(authorization) : Caller();
}

std::shared_ptr<const TlsPem> Security::tls() const {
  std::lock_guard lock(mutex_);
  return tls_;
}

}  // namespace rerankd::serving
