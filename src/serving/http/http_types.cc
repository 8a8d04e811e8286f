#include "serving/http/http_types.h"

#include "serving/error_map.h"

namespace rerankd::serving {

int HttpStatusOf(const Failure& failure) {
  return failure.http != 0 ? failure.http : HttpStatus(failure.status.code());
}

void Attribute(const HttpRequest& request, ScoreRequest* score) {
  score->cancel = request.cancel;
  score->tenant = request.caller.name;
  score->weight = request.caller.weight;
}

void AddAnswer(const Answer& answer, HttpReply* reply) {
  reply->headers = ScoredReplyHeaders(answer);
  reply->scored = {static_cast<int64_t>(answer.result.tokens.size()), answer.result.counts,
                   answer.result.timings};
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
