// Threads around SchedulerCore: a tokenizer pool, one thread per backend, one completion thread that also
// keeps time. Everything shared is in the core, under one lock that is taken per slice, per micro-batch and
// per request, never per pair. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "core/backend.h"
#include "core/request.h"
#include "core/stats.h"
#include "core/tokenizer.h"
#include "scheduler/caches.h"
#include "scheduler/encoder.h"
#include "scheduler/scheduler_core.h"

namespace rerankd {

// Backends of one kind, one worker thread each. At least one, but none in mode kTokenizationOnly.
struct SchedulerInstance {
  std::string name;
  std::string model;                     // instances of one model are told by it
  const Tokenizer* tokenizer = nullptr;  // outlives the scheduler; may be null in mode kInferenceOnly only
  int max_length = 512;
  std::vector<std::unique_ptr<Backend>> workers;
};

struct CacheSizes {
  int64_t document_bytes = 0, score_bytes = 0;  // 0 = off
};

class Scheduler {
 public:
  // Starts the threads. At least one instance; the model of the first one is the default. Without effect:
  // either cache in mode kInferenceOnly, the score cache in mode kTokenizationOnly.
  static Result<std::unique_ptr<Scheduler>> Create(CoreOptions options,
                                                   std::vector<SchedulerInstance> instances,
                                                   const CacheSizes& caches = {});
  ~Scheduler();  // drains

  // Never blocks for long: no kernel, tokenizer or completion runs in it. A failure means that the request
  // was not admitted and `done` is not called; else `done` is called exactly once, on the completion thread.
  Status Submit(ScoreRequest request, Completion done);

  // Refuses new requests, waits until every admitted one has completed. Not from a completion.
  void Drain();

  EngineStats stats() const;

 private:
  Scheduler(const CoreOptions& options, std::vector<SchedulerInstance> instances, const CacheSizes& caches);

  void TokenizerLoop(int thread);
  void WorkerLoop(int worker);
  void CompletionLoop();
  bool WaitForBatch(int worker, MicroBatch* batch);
  // False once the worker's backend can score no more.
  bool Run(int worker, const MicroBatch& batch, Batch* views, std::vector<float>* logits);
  void WakeWorkers(int group, int count);
  void WakeAllWorkers();
  void SampleUsage(int worker);
  void Complete(const Finished& finished);

  const CoreOptions options_;
  Caches caches_;
  const std::vector<std::unique_ptr<PairEncoder>> encoders_;  // by instance
  const std::vector<std::string> backend_names_;              // by worker, for messages
  const CancelFlag never_;

  mutable std::mutex mutex_;
  SchedulerCore core_;
  const std::vector<std::unique_ptr<Backend>> backends_;  // by worker
  bool stopping_ = false;
  bool completing_ = false;
  std::vector<BackendUsage> usage_;  // by worker
  std::condition_variable tokenizer_ready_, completion_ready_, drained_;
  std::deque<std::condition_variable> worker_ready_;  // by group

  std::vector<std::thread> threads_;
};

}  // namespace rerankd
