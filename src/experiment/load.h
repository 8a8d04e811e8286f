// Closed-loop load over real gRPC, as the reference client makes it.
#pragma once

#include <grpcpp/channel.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/status.h"
#include "experiment/dataset.h"
#include "experiment/record.h"

namespace rerankd::experiment {

struct LoadSpec {
  int batch = 1;                     // pairs a request
  int concurrency = 1;               // requests in flight
  int64_t requests = 1;              // to send; ignored with `duration_s`
  std::optional<double> duration_s;  // send until then
  std::optional<double> budget_s;    // stop earlier, keeping what is done
  bool expect_scores = true;         // false: answers of a pipeline without a model
};

struct LoadResult {
  double seconds = 0;  // first submit to last completion
  double client_cpu_s = 0;
  bool stopped_by_budget = false;
  std::vector<RequestSample> samples;  // by index
  std::string error;                   // of the first request that failed; the load stops there
};

using Progress = std::function<void(int64_t requests_done, double seconds)>;

class LoadGenerator {
 public:
  // `dataset` outlives this and is not empty.
  LoadGenerator(std::shared_ptr<grpc::Channel> channel, const Dataset& dataset);

  // `count` requests with the first `batch` pairs, one after another, unmeasured.
  Status WarmUp(int batch, int64_t count, bool expect_scores, const std::atomic<bool>& interrupt) const;

  // Request i sends pairs (i * batch) mod N and on, wrapping. One thread for each request in flight, all on
  // one channel. Once `interrupt` is set no further request is sent; those in flight end normally.
  // `progress` is called about ten times a second on the calling thread.
  LoadResult Run(const LoadSpec& spec, const std::atomic<bool>& interrupt, const Progress& progress) const;

 private:
  struct Shared;
  RequestSample Call(int64_t index, const LoadSpec& spec) const;
  void Slot(const LoadSpec& spec, Shared* shared) const;

  const std::shared_ptr<grpc::Channel> channel_;
  const Dataset& dataset_;
};

}  // namespace rerankd::experiment
