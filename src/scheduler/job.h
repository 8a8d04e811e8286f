// One admitted request on its way through the scheduler, and the units of work cut from it.
// Internal to scheduler/. A Job is shared by the core and by whatever thread holds work of it; each field
// says who writes it. Slices and micro-batches hold the job alive.
//
// A document is what the client sent; a unit is a distinct document of its query, scored for all that are
// equal to it; a row is an encoded pair: a unit or one window of it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "core/encoding.h"
#include "core/request.h"

namespace rerankd {

struct EncodedQuery {
  std::once_flag once;  // whichever tokenizer thread needs the query first encodes it
  std::vector<int32_t> ids;
  int full_tokens = 0;  // before max_tokens_per_query cut it
  Hash128 scope;        // all that a cached score depends on but the document
};

// The rows of a slice with room for their scores.
struct EncodedRows {
  EncodedPairs pairs;
  std::vector<int32_t> units;  // of each row
  std::vector<float> logits;   // [rows x num_labels]; written by workers, each its own rows
};

struct Job : std::enable_shared_from_this<Job> {
  // Finds the units; `merge_equal` = false: every document is one.
  Job(ScoreRequest r, Completion d, bool merge_equal = true);
  int size() const { return static_cast<int>(units.size()); }
  const Document& document(int unit) const {
    return request.documents[static_cast<size_t>(units[static_cast<size_t>(unit)])];
  }
  // Nobody waits for the scores any more.
  bool Lapsed(TimePoint now) const {
    return finished || request.cancel.cancelled() || (request.deadline && *request.deadline <= now);
  }

  // Set by the caller or at admission, constant afterwards.
  ScoreRequest request;
  Completion done;
  std::vector<int32_t> units;    // unit -> its first document, ascending
  std::vector<int32_t> unit_of;  // document -> unit; empty = every document is a unit
  TimePoint accepted{};
  int instance = 0;  // its home, chosen by routing
  int group = 0;     // of its home
  int num_labels = 1;
  uint64_t flow = 0;  // in the fair queue of its instance

  // Written by tokenizer threads, each its own slice of the units; published by SchedulerCore::SliceDone.
  std::unique_ptr<EncodedQuery[]> queries;
  std::vector<int32_t> tokens;     // by unit, of all its rows
  std::vector<uint8_t> truncated;  // by unit
  std::vector<uint8_t> cached;     // by unit: it has no row, its logits are there
  std::vector<Hash128> keys;       // by unit, in the score cache; empty without one
  std::vector<float> logits;       // [units x num_labels] of cached units, then of all (result.h)

  // Owned by SchedulerCore.
  enum class Stage { kWaiting, kTokenizing, kReady, kRunning };
  Stage stage = Stage::kWaiting;
  bool finished = false;
  std::vector<std::unique_ptr<EncodedRows>> slices;
  int next_unit = 0;        // first one not yet cut into a slice
  int encoded = 0;          // units that tokenizer threads have finished
  int rows = 0;             // of them
  int dispatched = 0;       // rows handed to workers
  int pending_rows = 0;     // not scored yet
  int64_t cost = 0;         // tokens, the whole request: estimates until tokenised
  int64_t queued_cost = 0;  // of it, not scored yet
  TimePoint first_start{}, last_end{};
  Duration tokenize_time{};
  double compute_ms = 0;
  TokenCounts counts;
  int worker = -1;
  std::list<std::shared_ptr<Job>>::iterator position;  // in the core's list
};

// Units [begin, end) of a job, to be encoded by one tokenizer thread.
struct Slice {
  std::shared_ptr<Job> job;
  int begin = 0, end = 0;
  int64_t estimate = 0;  // tokens that admission charged for them
  std::unique_ptr<EncodedRows> encoded;
};

// A row that waits for a worker. A view: the core keeps the job alive.
struct QueuedPair {
  Job* job = nullptr;
  int32_t index = 0;  // in `rows`
  int32_t tokens = 0;
  EncodedRows* rows = nullptr;
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
