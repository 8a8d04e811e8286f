#include "serving/http/http_types.h"

#include "serving/error_map.h"

namespace rerankd::serving {

std::string ToLower(std::string_view ascii) {
  std::string lower(ascii);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

int HttpStatusOf(const Failure& failure) {
  return failure.http != 0 ? failure.http : HttpStatus(failure.status.code());
}

void Attribute(const HttpRequest& request, ScoreRequest* score) {
  score->cancel = request.cancel;
  score->tenant = request.caller.name;
  score->weight = request.caller.weight;
}

void AddAnswer(const Answer& answer, const std::string& model, HttpReply* reply) {
  for (auto& header : ScoredReplyHeaders(answer)) reply->headers.push_back(std::move(header));
  reply->headers.emplace_back("x-model", model);
  reply->scored = {static_cast<int64_t>(answer.result.tokens.size()), answer.result.counts,
                   answer.result.timings};
}

HttpReply ErrorReply(ErrorBody body, const Failure& failure) {
  HttpReply reply;
  reply.status = HttpStatusOf(failure);
  reply.code = failure.status.code();
  reply.body = body(failure);
  if (reply.status == 429 || reply.status == 503)
    reply.headers.emplace_back("retry-after", std::to_string(RetryAfterSeconds(failure.status)));
  return reply;
}

}  // namespace rerankd::serving
