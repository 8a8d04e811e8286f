// End to end, text in to score out, for every precision and number of threads, with the machine's peak
// measured beside every sample. Rounds are interleaved: each runs every series once, so that slow minutes of
// the machine hit all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "engine/engine.h"
#include "perf/stages.h"
#include "perf/workload.h"
#include "weights/model_config.h"

namespace rerankd::perf {

struct SuiteOptions {
  Settings settings;  // of the first instance precision and threads are replaced, further ones are dropped
  std::function<Result<std::unique_ptr<Engine>>(Settings)> start;  // makes an engine
  std::vector<std::string> precisions;  // in the order of the report; what cannot run here becomes a note
  std::vector<int> threads;
  Workload text;             // without requests: none
  std::vector<int> lengths;  // tokens of a pair; longer ones than the model reads become a note
  int rounds = 5;
  double seconds = 0.3;  // about, of one sample of a length
  bool progress = true;
};

// One sample a round in each of the vectors.
struct PeakSeries {
  std::string precision;
  int threads = 1;
  std::vector<double> multiply_adds_per_s;
};
struct Series {
  std::string workload;  // "text", "text, alone" (one request at a time), or a number of tokens
  std::string precision;
  int threads = 1;
  int64_t pairs = 0, tokens = 0, requests = 0;  // of one sample
  std::vector<double> pairs_per_s;
  std::vector<double> share_of_peak;  // of the multiply-adds that the pairs need; 0 without a peak
};

struct SuiteResult {
  ModelInfo model;
  ModelConfig config;
  std::string backend;  // what runs: "native, avx2, own gemm"
  std::vector<PeakSeries> peaks;
  std::vector<Series> series;
  std::vector<StageProfile> stages;  // of the native backend: one a precision
  std::vector<std::string> notes;
};

// Errors: no precision runs here, a pair fails, a length is too small.
Result<SuiteResult> RunSuite(const SuiteOptions& options);

}  // namespace rerankd::perf
