#include "load/tls.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/file.h"

namespace rerankd::load {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

constexpr unsigned char kHttp1[] = "\x08http/1.1";  // ALPN's form: each name after its length

Certificate NextCertificate(BIO* pem) {
  Certificate next(PEM_read_bio_X509(pem, nullptr, nullptr, nullptr), X509_free);
  ERR_clear_error();  // the end of the text is reported as an error
  return next;
}

Bio MemoryBio(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

bool IsAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

int Size(size_t bytes) { return static_cast<int>(std::min<size_t>(bytes, INT_MAX)); }

}  // namespace

Result<std::string> ReadAuthorities(const std::string& path) {
  auto text = ReadFile(path);
  if (!text.ok()) return text.status().WithContext("--ca-file");
  if (NextCertificate(MemoryBio(*text).get()) == nullptr)
    return InvalidArgument(
        fmt::format("--ca-file {}: no certificate in PEM (-----BEGIN CERTIFICATE-----)", path));
  return text;
}

Result<TlsContext> TlsContext::Create(const std::string& ca_file) {
  TlsContext tls(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = tls.context_.get();
  if (context == nullptr) return Internal("OpenSSL gives no context");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  // A renegotiation could make reading wait for room to send. That a connection ends without a farewell is
  // told by what is missing of the reply.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_protos(context, kHttp1, sizeof(kHttp1) - 1);
  if (ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    ERR_clear_error();
    return tls;
  }
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadAuthorities(ca_file));
  const Bio pem = MemoryBio(text);
  while (const Certificate authority = NextCertificate(pem.get()))
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
  return tls;
}

TlsStream::TlsStream(const TlsContext& context, int fd, const std::string& host)
    : session_(SSL_new(context.context_.get())) {
  SSL_set_fd(session_.get(), fd);
  if (IsAddress(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host.c_str());
  } else {
    SSL_set_tlsext_host_name(session_.get(), host.c_str());
    SSL_set1_host(session_.get(), host.c_str());
  }
}

int TlsStream::Handshake() {
  ERR_clear_error();
  const int returned = SSL_connect(session_.get());
  return returned == 1 ? 0 : Failed(returned);
}

ssize_t TlsStream::Send(std::span<const char> bytes) {
  ERR_clear_error();
  const int sent = SSL_write(session_.get(), bytes.data(), Size(bytes.size()));
  return sent > 0 ? sent : Failed(sent);
}

ssize_t TlsStream::Receive(std::span<char> bytes) {
  ERR_clear_error();
  const int size = SSL_read(session_.get(), bytes.data(), Size(bytes.size()));
  if (size > 0) return size;
  return SSL_get_error(session_.get(), size) == SSL_ERROR_ZERO_RETURN ? 0 : Failed(size);
}

// -1, with errno and the fault set.
int TlsStream::Failed(int returned) {
  const int system = errno;
  const int error = SSL_get_error(session_.get(), returned);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    errno = EAGAIN;
    return -1;
  }
  const long verified = SSL_get_verify_result(session_.get());  // NOLINT: OpenSSL's type
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  if (verified != X509_V_OK)
    fault_ = fmt::format("its certificate is not trusted: {} (--ca-file names the authorities to trust)",
                         X509_verify_cert_error_string(verified));
  else if (reason != nullptr && !SSL_is_init_finished(session_.get()))
    fault_ =
        fmt::format("no TLS session: {} (a target without TLS is written without the s: http://)", reason);
  else if (error == SSL_ERROR_ZERO_RETURN)
    fault_ = "closed before there was a TLS session";
  else
    fault_ = reason != nullptr ? reason : std::strerror(system);
  ERR_clear_error();
  errno = EPROTO;
  return -1;
}

}  // namespace rerankd::load
