// Who may speak to the servers, and how: API keys and TLS files of the settings, shared by HTTP and gRPC,
// replaced while the servers run by Reload(). Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "config/settings.h"
#include "serving/api_keys.h"
#include "serving/caller.h"
#include "serving/tls.h"

namespace rerankd::serving {

class Security {
 public:
  // Errors name the file and what is wrong with it.
  static Result<std::unique_ptr<Security>> Load(const ServerSettings& settings);

  // Reads the files again (SIGHUP). After an error the old keys and certificates stay.
  Status Reload();

  bool needs_key() const { return !api_key_file_.empty(); }
  // Whose key `authorization` ("Bearer KEY") carries; nothing if it carries no valid one. Without a key file
  // everybody is the nameless caller.
  std::optional<Caller> Authenticate(std::string_view authorization) const;

  // What new connections use; null = no TLS. A reload gives a new object.
  std::shared_ptr<const TlsPem> tls() const;

 private:
  explicit Security(const ServerSettings& settings);

  const std::string api_key_file_, tls_cert_, tls_key_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ApiKeys> keys_;
  std::shared_ptr<const TlsPem> tls_;
};

}  // namespace rerankd::serving
