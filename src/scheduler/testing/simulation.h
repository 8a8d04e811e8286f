// Runs a SchedulerCore on a virtual clock: tokenizer threads and workers that take a known time, arrivals and
// other events at known times. Everything is deterministic.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "scheduler/encoder.h"
#include "scheduler/scheduler_core.h"
#include "scheduler/testing/byte_tokenizer.h"

namespace rerankd {

struct Outcome {
  bool admitted = false;
  Status status;
  std::vector<float> logits;
  ScoreResult result;
  TimePoint arrived, completed;
  int completions = 0;
  std::shared_ptr<Job> job;
  double ms() const { return ToMs(completed - arrived); }
};

class Simulation {
 public:
  Simulation(const CoreOptions& options, std::vector<InstanceSpec> instances);

  // Something that happens at `ms` of simulated time.
  void At(double ms, std::function<void()> event) { events_.emplace(start_ + FromMs(ms), std::move(event)); }
  // Submits a request now; the key of its outcome.
  int Submit(ScoreRequest request);
  int SubmitAt(double ms, ScoreRequest request);
  // Until nothing is left to happen, or `until_ms` of simulated time.
  void Run(double until_ms = 1e9);

  TimePoint now() const { return clock_.Now(); }
  double now_ms() const { return ToMs(now() - start_); }
  SchedulerCore& core() { return core_; }
  Outcome& outcome(int key) { return outcomes_.at(key); }
  std::map<int, Outcome>& outcomes() { return outcomes_; }

  static float Logit(std::span<const int32_t> ids);
  // The logits that `request` must get, computed by itself.
  std::vector<float> Expected(const ScoreRequest& request, int max_length) const;

  // What a test may change before Run.
  double us_per_token = 10;          // of cost, in a worker
  double tokenizer_us_per_pair = 5;  // in a tokenizer thread
  // Called at the end of each micro-batch; what the backend says.
  std::function<Status(int worker, const MicroBatch&)> verdict = [](int, const MicroBatch&) {
    return Status();
  };
  std::function<void(int worker, const MicroBatch&)> on_batch = [](int, const MicroBatch&) {};
  std::set<int> dead;  // workers that take nothing any more

  // Rows that were computed, by slice: none twice.
  std::set<std::pair<const EncodedRows*, int>> computed;
  int computed_twice = 0;
  int idle_while_work_waits = 0;

 private:
  struct Busy {
    MicroBatch batch;
    TimePoint start, end;
  };
  void SubmitAs(int key, ScoreRequest request);
  void StartTokenizers();
  void StartWorkers();
  void Collect();
  void CheckGreed();
  std::optional<TimePoint> NextEvent() const;
  void EndWork();
  void EndBatch(int worker, Busy* busy);

  const std::vector<InstanceSpec> specs_;
  VirtualClock clock_;
  const TimePoint start_ = clock_.Now();
  ByteTokenizer tokenizer_;
  TokenizingEncoder encoder_{&tokenizer_};
  SchedulerCore core_;
  std::multimap<TimePoint, std::function<void()>> events_;
  std::vector<std::optional<Busy>> workers_;
  std::vector<std::optional<std::pair<Slice, TimePoint>>> tokenizers_;
  std::map<int, Outcome> outcomes_;
  int next_key_ = 0;
};

}  // namespace rerankd
