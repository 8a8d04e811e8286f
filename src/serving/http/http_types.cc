#include "serving/http/http_types.h"

#include "serving/error_map.h"

namespace rerankd::serving {

int HttpStatusOf(const Failure& failure) {
  return failure.http != 0 ? failure.http : HttpStatus(failure.status.code());
}

HttpReply ErrorReply(ErrorBody body, const Failure& failure) {
  HttpReply reply;
  reply.status = HttpStatusOf(failure);
  reply.body = body(failure);
  if (reply.status == 429 || reply.status == 503)
    reply.headers.emplace_back("retry-after", std::to_string(RetryAfterSeconds(failure.status)));
  return reply;
}

}  // namespace rerankd::serving
