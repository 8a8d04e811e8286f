// The scheduler without threads: every policy and all bookkeeping, driven by calls that say what happened and
// when. Scheduler (scheduler.h) puts a lock and threads around it; tests drive it on a virtual clock.
//
// A request: Admit -> NextSlice/SliceDone until its units are encoded -> NextBatch/BatchDone until its rows
// are scored -> TakeFinished, exactly once, whatever happens on the way.
//
// Instances of one kind (model, backend, device, precision, limits) form a group. Routing chooses the home of
// a request at admission, among the instances of its model; a worker serves its own instance first and, when
// that has nothing, the instance of its group with the longest queue: an idle worker never waits. Scores of
// one request come from one kind only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "core/backend.h"
#include "core/stats.h"
#include "scheduler/admission.h"
#include "scheduler/batch_policy.h"
#include "scheduler/fair_queue.h"
#include "scheduler/job.h"
#include "scheduler/routing.h"
#include "scheduler/window.h"

namespace rerankd {

enum class PipelineMode {
  kFull,
  kTokenizationOnly,  // no workers: a request completes without scores once it is encoded
  kInferenceOnly,     // no tokenizer: synthetic ids (encoder.h)
};

Result<PipelineMode> ParsePipelineMode(std::string_view name);

struct CoreOptions {
  AdmissionLimits admission;
  Routing routing = Routing::kRoundRobin;
  PipelineMode mode = PipelineMode::kFull;
  WindowOptions window;
  OverflowOptions documents;       // what requests leave to the server
  bool merge_equal = true;         // equal documents of one query are scored once
  double default_deadline_ms = 0;  // 0 = none
  int64_t batch_tokens = 0;        // 0 = what the backend prefers
  double max_quantum_ms = 20;      // of work in one dispatch to a padded backend
  int tokenizer_threads = 1;
  bool spread_slices = true;  // several tokenizer threads may work on one request
  bool score_cache = false;   // jobs get keys
};

struct InstanceSpec {
  std::string name;
  std::string model;
  BackendCaps caps;
  int max_length = 512;  // tokens of a pair
  int workers = 1;       // workers are numbered through all instances, in order
};

struct Finished {
  std::shared_ptr<Job> job;
  Status status;
};

class SchedulerCore {
 public:
  // At least one instance; in mode kTokenizationOnly without workers. The first one's model is the default.
  SchedulerCore(const CoreOptions& options, std::vector<InstanceSpec> instances);

  // Not OK = not admitted: kInvalidArgument, kNotFound (no such model), kResourceExhausted, kUnavailable,
  // kDeadlineExceeded, kCancelled.
  Status Admit(const std::shared_ptr<Job>& job, TimePoint now);
  void StopAdmission();  // from now on kUnavailable

  // Tokenizer stage: requests take turns, up to 64 units or 128 KiB of text a slice.
  std::optional<Slice> NextSlice(TimePoint now);
  // Returns the number of micro-batches that became ready (an estimate, for waking workers).
  int SliceDone(Slice slice, const Status& status, Duration took);

  // Fills `batch`; false if there is nothing for `worker`.
  bool NextBatch(int worker, TimePoint now, MicroBatch* batch);
  void BatchDone(int worker, const MicroBatch& batch, const Status& status, const BatchStats& stats,
                 TimePoint start, TimePoint end);
  // `worker` scores no more. Requests that only it could have served fail with kUnavailable.
  void WorkerLost(int worker, const Status& reason);

  // Finishes expired and cancelled requests and closes the batch window when due. Call it at next_timer().
  void Tick(TimePoint now);
  std::optional<TimePoint> next_timer() const;

  // Requests whose completion has to be called now.
  std::vector<Finished> TakeFinished() { return std::exchange(finished_, {}); }
  bool has_finished() const { return !finished_.empty(); }
  int64_t unfinished() const { return static_cast<int64_t>(jobs_.size()); }
  bool has_slices() const { return !tokenizer_ring_.empty(); }

  int worker_count() const { return static_cast<int>(workers_.size()); }
  int instance_of(int worker) const { return workers_[static_cast<size_t>(worker)].stats.instance; }
  int group_of(int worker) const { return group_of_instance(instance_of(worker)); }
  int group_of_instance(int instance) const { return instances_[static_cast<size_t>(instance)].group; }
  int group_count() const { return static_cast<int>(groups_.size()); }
  int64_t waiting_tokens(int group) const;  // of pairs that a worker could take now
  EngineStats stats() const;                // usage is left to the owner of the backends

 private:
  struct Worker {
    WorkerStats stats;
  };
  struct Group {
    std::vector<int> instances;
    int live_workers = 0;
    int64_t cost = 0;          // of unfinished requests, what is scored of them included
    int64_t queued_cost = 0;   // of them, not scored yet
    int64_t running_cost = 0;  // of it, in micro-batches that workers hold
    RateMeter tokens, units;   // of one worker: real tokens; cost units
    double tokens_per_second() const { return tokens.per_second() * live_workers; }
  };
  struct Instance {
    InstanceSpec spec;
    int group = 0;
    int live_workers = 0;
    int64_t requests = 0;
    FairQueue queue;
    BatchWindow window;
  };
  // A batch window that is not served yet. It is when it is closed and all its requests are encoded.
  struct Held {
    int instance = 0;
    int unencoded = 0;  // requests
    bool closed = false;
  };

  Status CheckRequest(Job* job, TimePoint now);
  Status Route(Job* job, int last);
  Status CheckRoom(const Job& job, TimePoint now) const;
  void Enqueue(Job* job);
  void CountRows(Job* job, const EncodedRows& rows);
  void TakeRows(Job* job, std::unique_ptr<EncodedRows> rows);
  int64_t TokensAhead(const Job& job) const;
  double WaitMs(const Job& job, double limit_ms) const;
  Instance* QueueFor(int worker);
  int64_t Backlog(const Instance& instance, int64_t enough) const;
  BatchLimits LimitsFor(const Instance& instance) const;
  void Count(int worker, const MicroBatch& batch, const BatchStats& stats, Duration busy);
  void Charge(Job* job, int64_t cost);  // what is to be scored yet
  void Recost(Job* job, int64_t cost);  // what the whole request costs, and so what is to be scored
  void Finish(Job* job, Status status);
  void FinishLapsed(Job* job, TimePoint now);
  void FailGroup(int group, const Status& status);
  void CloseWindows(TimePoint now, bool all);
  void CloseWindow(uint64_t flow);
  void NoteEncoded(const Job& job);
  void ReleaseIfComplete(uint64_t flow);

  Instance& home(const Job& job) { return instances_[static_cast<size_t>(job.instance)]; }
  const Instance& home(const Job& job) const { return instances_[static_cast<size_t>(job.instance)]; }

  const CoreOptions options_;
  std::vector<Instance> instances_;
  std::vector<Group> groups_;
  std::vector<Worker> workers_;
  std::list<std::shared_ptr<Job>> jobs_;  // admitted, unfinished
  std::list<std::shared_ptr<Job>> tokenizer_ring_;
  std::set<std::pair<TimePoint, Job*>> deadlines_;
  std::map<uint64_t, Held> held_;  // by flow
  std::vector<Finished> finished_;
  RateMeter tokenizer_rate_;  // of one thread
  int64_t untokenized_ = 0;   // estimated tokens not yet encoded
  int64_t queued_cost_ = 0;
  uint64_t next_flow_ = 1;
  std::map<std::string, int> last_instance_;  // by model; -1 before its first request
  TimePoint next_sweep_{};
  bool stopped_ = false;
  Status lost_reason_;
  EngineStats counters_;
};

}  // namespace rerankd
