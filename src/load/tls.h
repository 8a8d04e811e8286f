// TLS towards a target: version 1.2 or later, its certificate from a trusted authority and for its name.
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace rerankd::load {

// The authorities of a PEM file, as text. kNotFound, kInvalidArgument: it cannot be read or holds no
// certificate.
Result<std::string> ReadAuthorities(const std::string& path);

// What all connections to a target share. Immutable after creation.
class TlsContext {
 public:
  // Trusts the authorities of `ca_file` only, or, where that is empty, those of the system (OpenSSL's, which
  // SSL_CERT_FILE and SSL_CERT_DIR replace). Errors as those of ReadAuthorities.
  static Result<TlsContext> Create(const std::string& ca_file);

 private:
  friend class TlsStream;
  struct Deleter {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  explicit TlsContext(SSL_CTX* context) : context_(context) {}

  std::unique_ptr<SSL_CTX, Deleter> context_;
};

// A session on a connected, non-blocking socket, which it borrows. The process must ignore SIGPIPE.
class TlsStream {
 public:
  // `host`: a name or an address, as the certificate must have it.
  TlsStream(const TlsContext& context, int fd, const std::string& host);

  // The three return as connect(2), send(2) and recv(2) do. errno is EAGAIN where the socket must be waited
  // for, EPROTO where the session failed: then fault() says why.
  int Handshake();
  ssize_t Send(std::span<const char> bytes);
  ssize_t Receive(std::span<char> bytes);

  bool wants_room() const { return SSL_want_write(session_.get()); }  // after EAGAIN: waits to send
  const std::string& fault() const { return fault_; }

 private:
  struct Deleter {
    void operator()(SSL* session) const { SSL_free(session); }
  };
  int Failed(int returned);

  std::unique_ptr<SSL, Deleter> session_;
  std::string fault_;
};

}  // namespace rerankd::load
