// Where the time of one thread goes: text to tokens, then each stage of the encoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "core/tokenizer.h"
#include "kernels/gemm.h"
#include "perf/workload.h"

namespace rerankd::perf {

struct StageTime {
  std::string stage;
  std::vector<double> us_per_token;   // one a round
  std::vector<double> share_of_peak;  // of the stage's multiply-adds; empty where it has none
};

struct StageProfile {
  std::string precision, workload;  // their names
  int64_t pairs = 0, tokens = 0;    // of one round
  std::vector<StageTime> stages;    // in the order of the work
};

struct StageOptions {
  std::string directory;  // of the model
  const Tokenizer* tokenizer = nullptr;
  PairOptions pair_options;
  Precision precision = Precision::kFp32;
  int batch_tokens = 256;
  int rounds = 5;
};

// Runs the workload on one thread of the native backend, micro-batch by micro-batch, and reads the clock
// between stages. The peaks are measured beside every round: attention, which is fp32 in every precision, is
// compared with that of fp32.
Result<StageProfile> ProfileStages(const StageOptions& options, const Workload& workload);

}  // namespace rerankd::perf
