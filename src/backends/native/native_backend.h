// Our CPU engine behind the Backend port.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "core/backend.h"
#include "model/bert_weights.h"

namespace rerankd {

struct NativeOptions {
  std::string precision = "auto";  // auto, fp32, bf16, fp16 (runs as bf16), int8; docs/engine.md, Precision
  std::string isa;                 // empty: RERANKD_ISA, else the fastest that runs here
  std::string gemm;                // empty: RERANKD_GEMM, else "own"
};

// The loaded, immutable part of a model: shared by all its instances. Thread-safe.
class NativeModel {
 public:
  // Reads config.json and the weights of a model folder. kFailedPrecondition for a precision or instruction
  // set that does not exist here; other errors name the file or tensor at fault.
  static Result<std::shared_ptr<const NativeModel>> Load(const std::string& directory,
                                                         const NativeOptions& options);
  static Result<std::shared_ptr<const NativeModel>> Load(const std::string& directory,
                                                         const std::string& precision);

  explicit NativeModel(std::shared_ptr<const BertWeights> weights) : weights_(std::move(weights)) {}

  const ModelConfig& config() const { return weights_->config; }
  const std::shared_ptr<const BertWeights>& weights() const { return weights_; }
  std::string_view precision() const { return PrecisionName(weights_->precision); }  // what really runs

 private:
  friend class NativeBackend;

  std::shared_ptr<const BertWeights> weights_;
  mutable std::atomic<int> instances_{0};  // backends alive: each reports its share of the weights' memory
};

// One instance with its own workspace. A batch larger than caps().batch_tokens runs in slices of whole pairs;
// Score allocates nothing after construction, and a pair's logits do not depend on its batch.
std::unique_ptr<Backend> MakeNativeBackend(std::shared_ptr<const NativeModel> model);

}  // namespace rerankd
