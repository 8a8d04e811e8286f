#include "serving/error_map.h"

#include <algorithm>
#include <cmath>

namespace rerankd::serving {
namespace {

constexpr size_t kLongestMessage = 1000;  // bytes; gRPC triples those that are not ASCII

struct Row {
  int http;
  int grpc;
  std::string_view tei;
};

// kInternal is 424 as in TEI: 5xx makes the Cohere SDK send the failing request three times.
// kCancelled is for logs: nobody is left to read it.
Row Lookup(Code code) {
  switch (code) {
    case Code::kOk:
      return {200, 0, ""};
    case Code::kInvalidArgument:
      return {422, 3, "Validation"};
    case Code::kNotFound:
      return {404, 5, "Validation"};
    case Code::kFailedPrecondition:
      return {424, 9, "Backend"};
    case Code::kResourceExhausted:
      return {429, 8, "Overloaded"};
    case Code::kDeadlineExceeded:
      return {504, 4, "Overloaded"};
    case Code::kCancelled:
      return {499, 1, "Overloaded"};
    case Code::kUnavailable:
      return {503, 14, "Unhealthy"};
    case Code::kInternal:
      return {424, 13, "Backend"};
  }
  return {424, 13, "Backend"};
}

}  // namespace

int HttpStatus(Code code) { return Lookup(code).http; }
int GrpcStatus(Code code) { return Lookup(code).grpc; }
std::string_view TeiErrorType(Code code) { return Lookup(code).tei; }

std::string ClientMessage(const Status& status) {
  const std::string& message = status.message();
  if (message.size() <= kLongestMessage) return message;
  size_t end = kLongestMessage;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;  // within a code point
  return message.substr(0, end) + " [...]";
}

int RetryAfterSeconds(const Status& status) {
  return std::max(1, static_cast<int>(std::ceil(status.retry_after_ms() / 1000)));
}

}  // namespace rerankd::serving
