// The server's certificate and private key, and an OpenSSL context made of them.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace rerankd::serving {

struct TlsPem {
  std::string certificate;  // the chain, the server's own first
  std::string key;
};

// Reads both and checks that they fit together. Errors name the file.
Result<TlsPem> LoadTlsPem(const std::string& certificate_path, const std::string& key_path);

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextDeleter>;

// For servers: TLS 1.2 and later.
Result<SslContext> MakeTlsContext(const TlsPem& pem);

}  // namespace rerankd::serving
