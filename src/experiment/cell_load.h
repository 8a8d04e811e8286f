// The load of a cell, on src/load: the reference system's closed loop, or an open one.
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
#include "load/capacity.h"
#include "load/client.h"
#include "load/dataset.h"
#include "load/generator.h"
#include "load/target.h"
#include "load/workload.h"

namespace rerankd::experiment {

struct LoadSpec {
  int batch = 1;                     // pairs a request
  int concurrency = 1;               // requests in flight
  int64_t requests = 1;              // to send; ignored with `duration_s`
  std::optional<double> duration_s;  // send until then
  std::optional<double> budget_s;    // stop earlier, keeping what is done
  std::optional<double> rate;        // open loop: requests/s due; `concurrency` does not matter then
  bool constant = false;             // open loop: evenly spaced instead of Poisson arrivals
  uint64_t seed = 1;
};

struct LoadResult {
  double seconds = 0;  // first submit to last completion
  double client_cpu_s = 0;
  bool stopped_by_budget = false;
  std::vector<RequestSample> samples;  // by index
  int64_t held = 0;                    // open loop: sent late because too many were unanswered
  int peak_in_flight = 0;
  int64_t clock_went_back = 0;
  // Of the first request that failed. A closed loop stops there; an open one only when all of them fail.
  std::string error;
};

class CellLoad {
 public:
  // `dataset` outlives this and is not empty. `one_query`: all documents of a request go with the query of
  // its first pair. kInvalidArgument: there is no such target.
  static Result<std::unique_ptr<CellLoad>> Create(const load::Target& target, const load::Dataset& dataset,
                                                  bool one_query);

  // `count` requests with the first `batch` pairs, one after another, unmeasured.
  Status WarmUp(int batch, int64_t count, const std::atomic<bool>& interrupt) const;

  // What a closed loop reaches with requests of `batch` pairs, in steps of `step_s` seconds.
  load::Capacity MeasureCapacity(int batch, double step_s, const std::atomic<bool>& interrupt) const;

  // Sends requests of `batch` pairs, `concurrency` at a time, until `stop`; failures do not matter. Returns
  // how many were answered.
  int64_t RunBackground(int batch, int concurrency, const std::atomic<bool>& stop) const;

  // Request i sends pairs (i * batch) mod N and on, wrapping, all on one channel. Once `interrupt` is set no
  // further request is sent; those in flight end normally.
  LoadResult Run(const LoadSpec& spec, const std::atomic<bool>& interrupt,
                 const load::Progress& progress) const;

 private:
  CellLoad(const load::Dataset& dataset, bool one_query) : workload_(dataset, one_query) {}

  const load::Workload workload_;
  std::unique_ptr<load::Client> client_;
};

}  // namespace rerankd::experiment
