#include "scheduler/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scheduler/overflow.h"

namespace rerankd {
namespace {

constexpr int64_t kSpecialTokens = 3;
constexpr double kMemorySeconds = 2;
constexpr double kLeastRetryMs = 1000;

Status Refuse(const std::string& reason, double wait_ms) {
  const double retry_ms = std::max(wait_ms, kLeastRetryMs);
  return ResourceExhausted(fmt::format("{}; retry in {:.0f} s", reason, std::ceil(retry_ms / 1000)))
      .WithRetryAfter(retry_ms);
}

// A limit of 0 is none.
int64_t Limited(int64_t tokens, int most) { return most > 0 ? std::min<int64_t>(tokens, most) : tokens; }

int64_t EstimateDocument(const ScoreRequest& request, size_t query_bytes, size_t document_bytes) {
  const OverflowOptions& overflow = request.overflow;
  const int64_t limit = std::max(request.pair_options.max_length, 1);
  if (overflow.max_tokens_per_query == 0 && overflow.max_tokens_per_doc == 0 &&
      overflow.policy != Overflow::kMaxWindow)
    return std::min(limit, static_cast<int64_t>((query_bytes + document_bytes) / 4) + kSpecialTokens);
  const int64_t query = Limited(static_cast<int64_t>(query_bytes / 4), overflow.max_tokens_per_query);
  const int64_t document = Limited(static_cast<int64_t>(document_bytes / 4), overflow.max_tokens_per_doc);
  const int64_t whole = query + document + kSpecialTokens;
  const int64_t room = limit - query - kSpecialTokens;
  if (overflow.policy != Overflow::kMaxWindow || room < 1) return std::min(limit, whole);
  const WindowPlan plan = WindowPlan::For(overflow, static_cast<size_t>(room));
  const auto windows = static_cast<int64_t>(plan.Count(static_cast<size_t>(document)));
  if (windows == 1) return std::min(limit, whole);
  return windows * (query + kSpecialTokens + static_cast<int64_t>(plan.window));
}

}  // namespace

int64_t EstimateTokens(const ScoreRequest& request, std::span<const int32_t> documents) {
  int64_t tokens = 0;
  for (const int32_t i : documents) {
    const Document& document = request.documents[static_cast<size_t>(i)];
    tokens += EstimateDocument(request, request.queries[document.query].size(), document.text.size());
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
