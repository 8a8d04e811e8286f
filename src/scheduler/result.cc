#include "scheduler/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace rerankd {
namespace {

double SpanMs(TimePoint from, TimePoint to) { return to > from ? ToMs(to - from) : 0; }

// A NaN wins, so that it is found.
float Larger(float a, float b) { return b > a || std::isnan(b) ? b : a; }

void PoolRows(const EncodedRows& rows, size_t width, std::vector<uint8_t>* seen, std::span<float> logits) {
  for (size_t row = 0; row < rows.units.size(); ++row) {
    const auto unit = static_cast<size_t>(rows.units[row]);
    const bool first = std::exchange((*seen)[unit], 1) == 0;
    for (size_t l = 0; l < width; ++l) {
      float& pooled = logits[unit * width + l];
      const float score = rows.logits[row * width + l];
      pooled = first ? score : Larger(pooled, score);
    }
  }
}

Status CheckFinite(const Job& job, size_t width) {
  for (size_t i = 0; i < job.logits.size(); ++i)
    if (!std::isfinite(job.logits[i]))
      return Internal(fmt::format("score is {} (document {})", std::isnan(job.logits[i]) ? "NaN" : "infinite",
                                  job.units[i / width]));
  return {};
}

void Keep(const Job& job, size_t width, SharedCache<CachedScore>* cache) {
  for (size_t unit = 0; unit < job.keys.size(); ++unit) {
    if (job.cached[unit] != 0) continue;
    const auto begin = job.logits.begin() + static_cast<ptrdiff_t>(unit * width);
    CachedScore score = {
        {begin, begin + static_cast<ptrdiff_t>(width)}, job.tokens[unit], job.truncated[unit]};
    cache->Put(job.keys[unit], std::move(score), static_cast<int64_t>(width * sizeof(float)));
  }
}

// By unit -> by document, `width` values each.
template <typename T>
std::vector<T> Spread(const Job& job, std::vector<T> by_unit, size_t width) {
  if (job.unit_of.empty() || by_unit.empty()) return by_unit;
  std::vector<T> by_document(job.unit_of.size() * width);
  for (size_t i = 0; i < job.unit_of.size(); ++i)
    std::copy_n(by_unit.data() + static_cast<size_t>(job.unit_of[i]) * width, width,
                by_document.data() + i * width);
  return by_document;
}

}  // namespace

Result<ScoreResult> TakeResult(Job* job, TimePoint now, SharedCache<CachedScore>* cache) {
  const auto width = static_cast<size_t>(job->num_labels);
  if (!job->logits.empty()) {
    std::vector<uint8_t> seen(job->units.size());
    for (const auto& rows : job->slices) PoolRows(*rows, width, &seen, job->logits);
    RERANKD_RETURN_IF_ERROR(CheckFinite(*job, width));
    if (cache != nullptr) Keep(*job, width, cache);
  }
  ScoreResult result;
  result.num_labels = job->num_labels;
  result.counts = job->counts;
  result.counts.pairs = job->rows;
  const auto unit_at = [&](size_t i) {
    return job->unit_of.empty() ? i : static_cast<size_t>(job->unit_of[i]);
  };
  for (size_t i = 0; i < job->request.documents.size(); ++i) {
    result.counts.truncated_pairs += job->truncated[unit_at(i)];
    result.counts.cached += job->cached[unit_at(i)];
  }
  result.counts.duplicates = static_cast<int>(job->request.documents.size()) - job->size();
  result.logits = Spread(*job, std::move(job->logits), width);
  result.tokens = Spread(*job, std::move(job->tokens), 1);
  result.truncated = Spread(*job, std::move(job->truncated), 1);
  result.timings.queue_ms = SpanMs(job->accepted, job->first_start);
  result.timings.tokenize_ms = ToMs(job->tokenize_time);
  result.timings.inference_ms = SpanMs(job->first_start, job->last_end);
  result.timings.compute_ms = job->compute_ms;
  result.timings.total_ms = SpanMs(job->accepted, now);
  result.worker = job->worker;
  return result;
}

}  // namespace rerankd
