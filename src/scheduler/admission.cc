#include "scheduler/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rerankd {
namespace {

constexpr double kMemorySeconds = 2;
constexpr double kLeastRetryMs = 1000;

Status Refuse(const std::string& reason, double wait_ms) {
  const double retry_ms = std::max(wait_ms, kLeastRetryMs);
  return ResourceExhausted(fmt::format("{}; retry in {:.0f} s", reason, std::ceil(retry_ms / 1000)))
      .WithRetryAfter(retry_ms);
}

}  // namespace

int64_t EstimateTokens(const ScoreRequest& request, int begin, int end) {
  const int64_t limit = std::max(request.pair_options.max_length, 1);
  int64_t tokens = 0;
  for (int i = begin; i < end; ++i) {
    const Document& document = request.documents[static_cast<size_t>(i)];
    const size_t bytes = document.text.size() + request.queries[document.query].size();
    tokens += std::min(limit, static_cast<int64_t>(bytes / 4) + 3);
  }
  return tokens;
}

void RateMeter::Add(int64_t units, Duration busy) {
  const double seconds = ToSeconds(busy);
  const double keep = std::exp(-seconds / kMemorySeconds);
  units_ = units_ * keep + static_cast<double>(units);
  seconds_ = seconds_ * keep + seconds;
}

double EstimatedWaitMs(int64_t tokens, double tokens_per_second) {
  return tokens_per_second > 0 ? static_cast<double>(tokens) / tokens_per_second * 1000 : 0;
}

Status CheckAdmission(const AdmissionLimits& limits, const AdmissionView& view, int64_t cost,
                      std::optional<Duration> time_left) {
  if (limits.max_queue_tokens > 0 && cost > limits.max_queue_tokens)
    return InvalidArgument(fmt::format(
        "the request has about {} tokens, scheduler.max_queue_tokens is {}: send fewer documents at a time",
        cost, limits.max_queue_tokens));
  if (limits.max_queue_requests > 0 && view.queued_requests >= limits.max_queue_requests)
    return Refuse(fmt::format("{} requests are queued, scheduler.max_queue_requests is {}",
                              view.queued_requests, limits.max_queue_requests),
                  view.wait_ms);
  if (limits.max_queue_tokens > 0 && view.queued_tokens + cost > limits.max_queue_tokens)
    return Refuse(
        fmt::format("{} tokens are queued and this request adds about {}, scheduler.max_queue_tokens is {}",
                    view.queued_tokens, cost, limits.max_queue_tokens),
        view.wait_ms);
  if (view.wait_ms > limits.max_queue_ms)
    return Refuse(fmt::format("the estimated wait is {:.0f} ms, scheduler.max_queue_ms is {:.0f}",
                              view.wait_ms, limits.max_queue_ms),
                  view.wait_ms);
  if (time_left && view.wait_ms > ToMs(*time_left))
    return Refuse(fmt::format("the estimated wait is {:.0f} ms, the request's deadline is {:.0f} ms away",
                              view.wait_ms, ToMs(*time_left)),
                  view.wait_ms);
  return {};
}

}  // namespace rerankd
