// The load of a cell: the reference system's closed loop over gRPC, on src/load.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "experiment/record.h"
#include "load/client.h"
#include "load/dataset.h"
#include "load/generator.h"
#include "load/workload.h"

namespace rerankd::experiment {

struct LoadSpec {
  int batch = 1;                     // pairs a request
  int concurrency = 1;               // requests in flight
  int64_t requests = 1;              // to send; ignored with `duration_s`
  std::optional<double> duration_s;  // send until then
  std::optional<double> budget_s;    // stop earlier, keeping what is done
};

struct LoadResult {
  double seconds = 0;  // first submit to last completion
  double client_cpu_s = 0;
  bool stopped_by_budget = false;
  std::vector<RequestSample> samples;  // by index
  std::string error;                   // of the first request that failed; the load stops there
};

class CellLoad {
 public:
  // `dataset` outlives this and is not empty. `expect_scores` false: a server without a model may answer
  // none.
  static Result<std::unique_ptr<CellLoad>> Create(const std::string& grpc_address,
                                                  const load::Dataset& dataset, bool expect_scores);

  // `count` requests with the first `batch` pairs, one after another, unmeasured.
  Status WarmUp(int batch, int64_t count, const std::atomic<bool>& interrupt) const;

  // Request i sends pairs (i * batch) mod N and on, wrapping, all on one channel. Once `interrupt` is set no
  // further request is sent; those in flight end normally.
  LoadResult Run(const LoadSpec& spec, const std::atomic<bool>& interrupt,
                 const load::Progress& progress) const;

 private:
  explicit CellLoad(const load::Dataset& dataset) : workload_(dataset, false) {}

  const load::Workload workload_;  // each pair with its own query
  std::unique_ptr<load::Client> client_;
};

}  // namespace rerankd::experiment
