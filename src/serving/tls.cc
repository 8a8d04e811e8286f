#include "serving/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "base/file.h"

namespace rerankd::serving {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio MemoryBio(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

// OpenSSL's own reason for its last failure.
std::string Reason() {
  const unsigned long code = ERR_get_error();  // NOLINT: OpenSSL's type
  const char* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown reason";
}

// Instead of asking on the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

Status UseCertificates(SSL_CTX* context, const std::string& pem) {
  const Bio bio = MemoryBio(pem);
  const Certificate own(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr), X509_free);
  if (!own || SSL_CTX_use_certificate(context, own.get()) != 1)
    return InvalidArgument("no PEM certificate that a server can use: " + Reason());
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr))
    SSL_CTX_add0_chain_cert(context, next);  // takes ownership
  ERR_clear_error();                         // the end of the file is reported as an error
  return {};
}

Status UseKey(SSL_CTX* context, const std::string& pem) {
  const PrivateKey key(PEM_read_bio_PrivateKey(MemoryBio(pem).get(), nullptr, NoPassword, nullptr),
                       EVP_PKEY_free);
  if (!key) return InvalidArgument("no unencrypted PEM private key: " + Reason());
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    return InvalidArgument("this key does not belong to the certificate: " + Reason());
  return {};
}

// The names stand in errors.
Result<SslContext> MakeContext(const TlsPem& pem, const std::string& certificate, const std::string& key) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) return Internal("OpenSSL gives no context: " + Reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);  // idle connections keep no buffers
  RERANKD_RETURN_IF_ERROR(UseCertificates(context.get(), pem.certificate).WithContext(certificate));
  RERANKD_RETURN_IF_ERROR(UseKey(context.get(), pem.key).WithContext(key));
  return context;
}

}  // namespace

Result<TlsPem> LoadTlsPem(const std::string& certificate_path, const std::string& key_path) {
  TlsPem pem;
  RERANKD_ASSIGN_OR_RETURN(pem.certificate, ReadFile(certificate_path));
  RERANKD_ASSIGN_OR_RETURN(pem.key, ReadFile(key_path));
  RERANKD_RETURN_IF_ERROR(MakeContext(pem, certificate_path, key_path).status());
  return pem;
}

Result<SslContext> MakeTlsContext(const TlsPem& pem) {
  return MakeContext(pem, "TLS certificate", "TLS key");
}

}  // namespace rerankd::serving
