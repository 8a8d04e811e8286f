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

void Summary::Merge(const Summary& later) {
  requests_ += later.requests_;
  ok_pairs_ += later.ok_pairs_;
  good_ += later.good_;
  good_pairs_ += later.good_pairs_;
  for (Times Summary::*times : {&Summary::latency_, &Summary::timing_error_, &Summary::queue_,
                                &Summary::tokenize_, &Summary::inference_, &Summary::retry_after_})
    (this->*times).Merge(later.*times);
  for (const auto& [key, theirs] : later.outcomes_) {
    OutcomeSummary& ours = outcomes_[key];
    const int64_t count = ours.count + theirs.count;
    Times latency = ours.latency;
    latency.Merge(theirs.latency);
    if (ours.count == 0) ours = theirs;
    ours.count = count;
    ours.latency = std::move(latency);
  }
  windows_.insert(windows_.end(), later.windows_.begin(), later.windows_.end());
}

std::vector<const OutcomeSummary*> Summary::outcomes() const {
  std::vector<const OutcomeSummary*> list;
  for (const auto& [key, outcome] : outcomes_) list.push_back(&outcome);
  std::stable_sort(list.begin(), list.end(), [](auto* a, auto* b) { return a->count > b->count; });
  return list;
}

}  // namespace rerankd::load
