#include "serving/reply_headers.h"

#include <fmt/format.h>

#include <cmath>

namespace rerankd::serving {

Headers ScoredReplyHeaders(const Answer& answer) {
  const Timings& t = answer.result.timings;
  const auto whole = [](double ms) { return std::to_string(std::llround(ms)); };
  return {{"x-queue-time", whole(t.queue_ms)},
          {"x-tokenization-time", whole(t.tokenize_ms)},
          {"x-inference-time", whole(t.inference_ms)},
          {"x-total-time", whole(answer.latency_ms)},
          {"x-compute-time", whole(answer.latency_ms)},
          {"x-compute-type", std::string(answer.compute_type)},
          {"x-compute-characters", std::to_string(answer.characters)},
          {"x-compute-tokens", std::to_string(answer.result.counts.real)},
          {"x-truncated-documents", std::to_string(answer.result.counts.truncated_pairs)},
          {"server-timing",
           fmt::format("queue;dur={:.3f}, tokenize;dur={:.3f}, inference;dur={:.3f}, total;dur={:.3f}",
                       t.queue_ms, t.tokenize_ms, t.inference_ms, answer.latency_ms)}};
}

}  // namespace rerankd::serving
