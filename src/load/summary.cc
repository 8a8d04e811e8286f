#include "load/summary.h"

#include <algorithm>

namespace rerankd::load {
namespace {

void RecordKnown(double ms, Times* times) {
  if (ms >= 0) times->Record(ms);
}

}  // namespace

void Summary::Add(const Sample& sample) {
  const Reply& reply = sample.reply;
  ++requests_;
  timing_error_.Record(sample.sent_ms - sample.intended_ms);
  OutcomeSummary& outcome = outcomes_[{reply.outcome, reply.status}];
  if (outcome.count++ == 0) {
    outcome.outcome = reply.outcome;
    outcome.status = reply.status;
    outcome.detail = reply.detail;
  }
  outcome.latency.Record(sample.latency_ms);
  if (reply.retry_after_s >= 0) retry_after_.Record(reply.retry_after_s * 1000);
  const auto second = static_cast<size_t>(sample.intended_ms / 1000);
  if (second >= windows_.size()) windows_.resize(second + 1);
  Window& window = windows_[second];
  ++window.due;
  if (reply.outcome != Outcome::kOk) return;
  ++window.ok;
  window.pairs += sample.work.pairs;
  window.latency.Record(sample.latency_ms);
  ok_pairs_ += sample.work.pairs;
  latency_.Record(sample.latency_ms);
  RecordKnown(reply.queue_ms, &queue_);
  RecordKnown(reply.tokenize_ms, &tokenize_);
  RecordKnown(reply.inference_ms, &inference_);
  if (slo_ms_ > 0 && sample.latency_ms > slo_ms_) return;
  ++good_;
  good_pairs_ += sample.work.pairs;
}

std::vector<const OutcomeSummary*> Summary::outcomes() const {
  std::vector<const OutcomeSummary*> list;
  for (const auto& [key, outcome] : outcomes_) list.push_back(&outcome);
  std::stable_sort(list.begin(), list.end(), [](auto* a, auto* b) { return a->count > b->count; });
  return list;
}

}  // namespace rerankd::load
