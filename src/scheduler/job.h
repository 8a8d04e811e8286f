// One admitted request on its way through the scheduler, and the units of work cut from it.
// Internal to scheduler/. A Job is shared by the core and by whatever thread holds work of it; each field
// says who writes it. Slices and micro-batches hold the job alive.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "core/encoding.h"
#include "core/request.h"

namespace rerankd {

struct EncodedQuery {
  std::once_flag once;  // whichever tokenizer thread needs the query first encodes it
  std::vector<int32_t> ids;
};

struct Job : std::enable_shared_from_this<Job> {
  Job(ScoreRequest r, Completion d) : request(std::move(r)), done(std::move(d)) {}
  int size() const { return static_cast<int>(request.documents.size()); }
  // Nobody waits for the scores any more.
  bool Lapsed(TimePoint now) const {
    return finished || request.cancel.cancelled() || (request.deadline && *request.deadline <= now);
  }

  // Set by the caller or at admission, constant afterwards.
  ScoreRequest request;
  Completion done;
  TimePoint accepted{};
  int instance = 0;  // its home, chosen by routing
  int num_labels = 1;
  uint64_t flow = 0;  // in the fair queue of its instance

  // Written by tokenizer threads, each its own slice of the documents; published by SchedulerCore::SliceDone.
  std::unique_ptr<EncodedQuery[]> queries;
  std::vector<EncodedPair> pairs;  // views into `slices`
  std::vector<int32_t> tokens;
  std::vector<uint8_t> truncated;

  // Written by workers, each its own pairs; published by SchedulerCore::BatchDone.
  std::vector<float> logits;  // [documents x num_labels]

  // Owned by SchedulerCore.
  enum class Stage { kWaiting, kTokenizing, kReady, kRunning };
  Stage stage = Stage::kWaiting;
  bool finished = false;
  std::vector<std::unique_ptr<EncodedPairs>> slices;
  int next_document = 0;    // first one not yet cut into a slice
  int dispatched = 0;       // pairs handed to workers
  int encoded = 0;          // pairs that tokenizer threads have finished
  int pending_pairs = 0;    // not yet through their last stage
  int64_t queued_cost = 0;  // tokens: estimates until tokenised
  TimePoint first_start{}, last_end{};
  Duration tokenize_time{};
  double compute_ms = 0;
  TokenCounts counts;
  int worker = -1;
  std::list<std::shared_ptr<Job>>::iterator position;  // in the core's list
};

// Documents [begin, end) of a job, to be encoded by one tokenizer thread.
struct Slice {
  std::shared_ptr<Job> job;
  int begin = 0, end = 0;
  int64_t estimate = 0;  // tokens that admission charged for them
  std::unique_ptr<EncodedPairs> encoded;
};

// A pair that waits for a worker. A view: the core keeps the job alive.
struct QueuedPair {
  Job* job = nullptr;
  int32_t index = 0;
  int32_t tokens = 0;
};

// The pairs of one dispatch to one worker. Reused: Clear() keeps the memory.
struct MicroBatch {
  struct Share {  // what belongs to one job
    std::shared_ptr<Job> job;
    int rows = 0;
    int64_t tokens = 0;
  };
  std::vector<QueuedPair> pairs;
  std::vector<Share> shares;
  int64_t tokens = 0;
  int longest = 0;

  void Add(const QueuedPair& pair);
  void Clear();
};

}  // namespace rerankd
