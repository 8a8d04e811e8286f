#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <mutex>

namespace rerankd::hub {
namespace {

constexpr long kConnectTimeoutMs = 20'000;
// A transfer that moves fewer bytes than this a second for so long is dead.
constexpr long kStallBytesPerSecond = 1;
constexpr long kStallSeconds = 30;
constexpr size_t kMaxBodyBytes = 64 << 20;  // of replies without a sink

struct Transfer {
  const HttpRequest* request;
  HttpReply reply;
  bool stopped = false;
};

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  std::string_view line(data, size * count);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/"))
    transfer->reply.headers.clear();  // "100 Continue", proxies: the last reply counts
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
    transfer->reply.headers[name] = value;
  }
  return size * count;
}

struct BodyContext {
  Transfer* transfer;
  CURL* curl;
};

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto* context = static_cast<BodyContext*>(user);
  Transfer* transfer = context->transfer;
  const std::string_view piece(data, size * count);
  curl_easy_getinfo(context->curl, CURLINFO_RESPONSE_CODE, &transfer->reply.status);
  const long status = transfer->reply.status;
  if (transfer->request->sink && (status == 200 || status == 206)) {
    transfer->stopped = !transfer->request->sink(transfer->reply, piece);
    return transfer->stopped ? 0 : piece.size();
  }
  if (transfer->reply.body.size() + piece.size() > kMaxBodyBytes) return 0;
  transfer->reply.body += piece;
  return piece.size();
}

const char* CaBundle() {
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here calls setenv
    if (value != nullptr && *value != '\0') return value;
  }
  return nullptr;
}

}  // namespace

std::string HttpReply::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

struct HttpClient::Handle {
  CURL* curl = nullptr;
};

HttpClient::HttpClient() : handle_(std::make_unique<Handle>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  handle_->curl = curl_easy_init();
}

HttpClient::~HttpClient() { curl_easy_cleanup(handle_->curl); }

Result<HttpReply> HttpClient::Send(const HttpRequest& request) {
  CURL* curl = handle_->curl;
  if (curl == nullptr) return Internal("libcurl cannot start");
  curl_easy_reset(curl);  // keeps connections
  Transfer transfer{&request, {}, false};
  BodyContext body{&transfer, curl};
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "rerankd");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  // Not CURLOPT_RESUME_FROM, which fails on servers that answer the whole file instead.
  const std::string range = std::to_string(request.resume_from) + "-";
  if (request.resume_from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  const char* bundle = CaBundle();
  if (bundle != nullptr) curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
  // Identity: sizes and checksums are those of the bytes on the wire.
  curl_slist* list = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (!request.token.empty())
    list = curl_slist_append(list, ("Authorization: Bearer " + request.token).c_str());
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);

  const CURLcode code = curl_easy_perform(curl);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer.reply.status);
  if (transfer.stopped) return Cancelled("the transfer of " + request.url + " was stopped");
  // A server that cannot resume says so as an error of the transfer; for the caller it is a reply like any
  // other.
  if (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME) return std::move(transfer.reply);
  // Another try would not help.
  if (code == CURLE_PEER_FAILED_VERIFICATION)
    return FailedPrecondition(request.url +
                              ": the server's certificate is not trusted; set SSL_CERT_FILE to the "
                              "file of the authority that issued it");
  if (code == CURLE_SSL_CACERT_BADFILE && bundle != nullptr)
    return FailedPrecondition(std::string("cannot read the certificate authorities in '") + bundle + "'");
  if (code != CURLE_OK) return Unavailable(request.url + ": " + curl_easy_strerror(code));
  return std::move(transfer.reply);
}

}  // namespace rerankd::hub
