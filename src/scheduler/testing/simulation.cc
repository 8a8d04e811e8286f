#include "scheduler/testing/simulation.h"

#include <algorithm>

#include "scheduler/result.h"

namespace rerankd {

Simulation::Simulation(const CoreOptions& options, std::vector<InstanceSpec> instances)
    : specs_(instances),
      core_(options, std::move(instances)),
      workers_(static_cast<size_t>(core_.worker_count())),
      tokenizers_(static_cast<size_t>(options.tokenizer_threads)) {}

int Simulation::Submit(ScoreRequest request) {
  const int key = next_key_++;
  SubmitAs(key, std::move(request));
  return key;
}

int Simulation::SubmitAt(double ms, ScoreRequest request) {
  const int key = next_key_++;
  At(ms, [this, key, request = std::move(request)] { SubmitAs(key, request); });
  return key;
}

void Simulation::SubmitAs(int key, ScoreRequest request) {
  Outcome& outcome = outcomes_[key];
  outcome.arrived = now();
  outcome.job = std::make_shared<Job>(std::move(request), [this, key](Result<ScoreResult> result) {
    Outcome& mine = outcomes_.at(key);
    ++mine.completions;
    mine.completed = now();
    mine.status = result.status();
    if (!result.ok()) return;
    mine.result = std::move(*result);
    mine.logits = mine.result.logits;
  });
  outcome.status = core_.Admit(outcome.job, now());
  outcome.admitted = outcome.status.ok();
}

void Simulation::Run(double until_ms) {
  const TimePoint until = start_ + FromMs(until_ms);
  while (true) {
    StartTokenizers();
    StartWorkers();
    Collect();
    CheckGreed();
    const std::optional<TimePoint> next = NextEvent();
    if (!next || *next > until) return;
    clock_.Advance(std::max<Duration>(*next - now(), Duration(0)));
    while (!events_.empty() && events_.begin()->first <= now()) {
      auto event = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      event();
    }
    EndWork();
    if (core_.next_timer() && *core_.next_timer() <= now()) core_.Tick(now());
  }
}

float Simulation::Logit(std::span<const int32_t> ids) {
  uint32_t hash = 1;
  for (const int32_t id : ids) hash = hash * 31 + static_cast<uint32_t>(id);
  return static_cast<float>(hash % 100003);
}

std::vector<float> Simulation::Expected(const ScoreRequest& request, int max_length) const {
  std::vector<float> logits;
  PairOptions options = request.pair_options;
  options.max_length = std::min(options.max_length, max_length);
  for (const Document& document : request.documents) {
    std::vector<int32_t> query;
    tokenizer_.EncodeText(request.queries[document.query], false, &query);
    EncodedPairs pair;
    if (!tokenizer_.AppendPair(query, document.text, options, &pair).ok()) return {};
    logits.push_back(Logit(pair[0].ids));
  }
  return logits;
}

void Simulation::StartTokenizers() {
  for (auto& tokenizer : tokenizers_) {
    if (tokenizer) continue;
    std::optional<Slice> slice = core_.NextSlice(now());
    if (!slice) return;
    const double ms = tokenizer_us_per_pair * (slice->end - slice->begin) / 1000;
    tokenizer.emplace(std::move(*slice), now() + FromMs(ms));
  }
}

void Simulation::StartWorkers() {
  for (int i = 0; i < core_.worker_count(); ++i) {
    auto& worker = workers_[static_cast<size_t>(i)];
    if (worker || dead.contains(i)) continue;
    Busy busy;
    if (!core_.NextBatch(i, now(), &busy.batch)) continue;
    const bool padded = specs_[static_cast<size_t>(core_.instance_of(i))].caps.padded;
    const int64_t cost =
        BatchCost(padded, static_cast<int>(busy.batch.pairs.size()), busy.batch.tokens, busy.batch.longest);
    busy.start = now();
    busy.end = now() + FromMs(us_per_token * static_cast<double>(cost) / 1000);
    on_batch(i, busy.batch);
    worker = std::move(busy);
  }
}

void Simulation::Collect() {
  for (const Finished& finished : core_.TakeFinished()) {
    Job* job = finished.job.get();
    if (finished.status.ok()) {
      job->done(TakeResult(job, now()));
    } else {
      job->done(finished.status);
    }
  }
}

void Simulation::CheckGreed() {
  for (int i = 0; i < core_.worker_count(); ++i) {
    if (workers_[static_cast<size_t>(i)] || dead.contains(i)) continue;
    if (core_.waiting_tokens(core_.group_of(i)) > 0) ++idle_while_work_waits;
  }
}

std::optional<TimePoint> Simulation::NextEvent() const {
  std::optional<TimePoint> next = core_.next_timer();
  const auto consider = [&](TimePoint at) { next = next ? std::min(*next, at) : at; };
  if (!events_.empty()) consider(events_.begin()->first);
  for (const auto& worker : workers_)
    if (worker) consider(worker->end);
  for (const auto& tokenizer : tokenizers_)
    if (tokenizer) consider(tokenizer->second);
  return next;
}

void Simulation::EndWork() {
  for (int i = 0; i < core_.worker_count(); ++i) {
    auto& worker = workers_[static_cast<size_t>(i)];
    if (!worker || worker->end > now()) continue;
    Busy busy = std::move(*worker);
    worker.reset();
    EndBatch(i, &busy);
  }
  for (auto& tokenizer : tokenizers_) {
    if (!tokenizer || tokenizer->second > now()) continue;
    Slice slice = std::move(tokenizer->first);
    tokenizer.reset();
    const Status status = encoder_.Encode(&slice);
    const double ms = tokenizer_us_per_pair * (slice.end - slice.begin) / 1000;
    core_.SliceDone(std::move(slice), status, FromMs(ms));
  }
}

void Simulation::EndBatch(int worker, Busy* busy) {
  const Status status = verdict(worker, busy->batch);
  const bool padded = specs_[static_cast<size_t>(core_.instance_of(worker))].caps.padded;
  BatchStats stats;
  stats.padded_tokens =
      BatchCost(padded, static_cast<int>(busy->batch.pairs.size()), busy->batch.tokens, busy->batch.longest);
  stats.compute_ms = ToMs(busy->end - busy->start);
  for (const QueuedPair& pair : busy->batch.pairs) {
    if (!computed.emplace(pair.rows, pair.index).second) ++computed_twice;
    if (status.ok())
      pair.rows->logits[static_cast<size_t>(pair.index)] = Logit(pair.rows->pairs[pair.index].ids);
  }
  core_.BatchDone(worker, busy->batch, status, stats, busy->start, busy->end);
  if (status.code() == Code::kUnavailable) {
    dead.insert(worker);
    core_.WorkerLost(worker, status);
  }
}

}  // namespace rerankd
