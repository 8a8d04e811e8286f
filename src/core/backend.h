// The port behind which a model runner stands: all that the scheduler may know about one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "core/cancel.h"
#include "core/encoding.h"

namespace rerankd {

struct BackendCaps {
  std::string name;       // "native"
  std::string device;     // "cpu"
  std::string precision;  // what really runs: "fp32", "bf16", "int8"
  std::string details;    // ISA, engine version: "avx2, own gemm"
  bool padded = false;    // cost of a batch: padded ? rows * longest : sum of lengths
  int max_tokens = 512;   // longest pair (position embeddings)
  int max_rows = 0;       // pairs in one batch; 0 = no limit
  int num_labels = 1;
  int batch_tokens = 256;  // preferred size of a micro-batch, in cost units
};

struct BatchStats {
  double compute_ms = 0;      // time inside the model
  int64_t padded_tokens = 0;  // tokens computed, padding included
  double multiply_adds = 0;   // of the matrix products and attention; 0 = not counted
};

struct BackendUsage {
  int64_t host_bytes = 0;
  int64_t device_bytes = 0;        // 0 where device = cpu
  double device_utilization = -1;  // 0..1, negative when the device cannot tell
};

// One instance belongs to one thread at a time; several instances may share immutable weights.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const BackendCaps& caps() const = 0;

  // Runs pairs of the given lengths so that later calls neither allocate nor compile.
  virtual Status Warmup(std::span<const int> lengths) = 0;

  // logits[i * num_labels + l] = raw logit l of pair i; logits.size() == batch.size() * num_labels.
  // Never retains `batch`. On failure logits are unspecified; kCancelled if `cancel` was seen before the end.
  virtual Status Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
                       BatchStats* stats) = 0;

  virtual BackendUsage usage() const = 0;
  // Not OK once the instance can no longer score (device lost); the scheduler then stops using it.
  virtual Status health() const { return {}; }
};

}  // namespace rerankd
