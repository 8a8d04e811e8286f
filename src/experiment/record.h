// Everything that was measured in an experiment: reports are pure functions of it, and it is what the .json
// file holds. Milliseconds and seconds as named; negative = not known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "load/dataset.h"
#include "load/machine_speed.h"

namespace rerankd::experiment {

struct RequestSample {
  int64_t index = 0;    // i of the cell: decides which pairs were sent
  int repeat = 0;       // of the cell, from 0
  double start_ms = 0;  // when it was sent, since the cell's first request; later repeats follow on
  double late_ms = 0;   // open loop: sent - due
  double latency_ms =
      0;  // client: before building the message (open loop: when it was due) until the reply is decoded
  int pairs = 0;
  double queue_ms = -1, tokenize_ms = -1, inference_ms = -1;  // as the server reports them
  std::string error;                                          // empty = answered
};

// One run of a cell.
struct RepeatRecord {
  double seconds = 0;
  load::MachineSpeed before, after;
};

// One (batch size, concurrency) of the grid, or (batch size, rate) of an open loop.
struct CellRecord {
  int batch = 0;
  int concurrency = 0;    // requests in flight; open loop: the most that were
  std::string rate_name;  // open loop: as it was asked for, "80%"; empty = closed loop
  double rate = -1,
         capacity = -1;  // open loop: requests/s wanted, and those of a closed loop where that was measured
  double seconds = 0;    // first submit to last completion, wall; of all repeats together
  std::vector<RepeatRecord> repeats;  // those that were run
  std::string error;                  // empty = good; then the cell is an error row
  bool skipped = false;               // with `error` as the reason: this machine cannot run it
  std::string note;                   // what limited the cell, e.g. a time budget
  double client_cpu_s = -1, server_cpu_s = -1;
  int64_t server_resident_bytes = -1;  // after the last repeat
  int64_t real_tokens = -1, computed_tokens = -1;
  double multiply_adds = -1;            // of the engine
  std::vector<RequestSample> requests;  // by repeat and index; failed ones included

  bool good() const { return error.empty(); }
  bool open() const { return !rate_name.empty(); }
};

// How alike two rankings of the same candidates are; means over queries.
struct AgreementRecord {
  int queries = 0;
  double spearman = 0, kendall_tau = 0, top10_overlap = 0;
  double mean_difference = 0, max_difference = 0;  // of scores, absolute
  bool has_ndcg = false;
  double ndcg10_change = 0, ndcg10_low = 0, ndcg10_high = 0;  // ours - theirs, paired bootstrap 95 % interval
};

// Of one judged query.
struct QueryQuality {
  std::string id;
  double ndcg10 = 0, mrr10 = 0;
};

// How well the served model ranks.
struct QualityRecord {
  std::string data;
  std::string error;  // empty = measured
  int queries = 0;
  int64_t pairs = 0;
  bool has_qrels = false;
  double ndcg10 = 0, mrr10 = 0, first_stage_ndcg10 = 0, first_stage_mrr10 = 0;
  std::optional<AgreementRecord> fp32, given;
  std::vector<QueryQuality> by_query;  // what the means are of; results of earlier versions have none
};

// Of pairs of the data set, in tokens.
struct TokenLengths {
  int64_t pairs = 0;
  double mean = 0, min = 0, p50 = 0, p95 = 0, p99 = 0, max = 0;
};

using NamedValues = std::vector<std::pair<std::string, std::string>>;

// One server and the grid that was run on it.
struct RunRecord {
  std::string label;  // of the sweep; empty without one
  std::string name, description;
  std::string timestamp;  // local, "YYYY-MM-DD HH:MM:SS"
  std::string model, backend, device;
  std::string model_sha256;  // of its files (model_files.h); empty = not known
  bool batching = false;
  int batching_max = 0;
  double batching_timeout_ms = 0;
  load::DatasetInfo dataset;
  std::optional<TokenLengths> token_lengths;  // for the model; nothing = not known
  NamedValues server;                         // what the server said about itself when it was ready
  std::vector<std::string> instances;         // what really runs, one text each: backend, device, precision
  std::string configuration;                  // effective, YAML
  std::string metrics_json;  // the server's /metrics.json after the last cell; empty = not had
  std::vector<CellRecord> cells;
  std::optional<QualityRecord> quality;
};

struct ExperimentRecord {
  std::string stem;  // names the result files
  bool partial = false;
  NamedValues environment;
  std::vector<std::string> warnings;
  std::vector<RunRecord> runs;
};

// Reading what WriteRecord wrote gives an equal record: numbers survive exactly.
std::string RecordToJson(const ExperimentRecord& record);
// kInvalidArgument: not JSON, or not of this shape (names the key).
Result<ExperimentRecord> RecordFromJson(const std::string& text);

// What the reports use of /metrics.json. Missing keys give empty values: any server may be the target.
struct ServerMetrics {
  struct Stage {
    double avg = 0, p50 = 0, p95 = 0, p99 = 0, percent = 0;
  };
  struct Worker {
    std::string id;
    double avg = 0, p95 = 0, throughput = 0;
    int64_t queries = 0;
  };
  std::map<std::string, std::vector<double>> history;  // by key of the "history" object
  std::map<std::string, Stage> stages;                 // "tokenize", "queue_wait", "model_inference", "other"
  std::vector<Worker> workers;
  int64_t real_tokens = -1, computed_tokens = -1;
  double multiply_adds = -1, peak_multiply_adds_per_s = -1;  // of the engine so far; of the machine
  double worker_utilization_pct = -1;
  double padded_waste_pct = -1;  // mean of requests, if each were padded to its longest pair
  std::string backend, device;
};
// The instances in the answer of /info, for people; empty if the server does not say.
std::vector<std::string> ParseInstances(const std::string& info_json);

Result<ServerMetrics> ParseServerMetrics(const std::string& json);

}  // namespace rerankd::experiment
