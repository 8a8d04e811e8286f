// What all backends that run a rectangle have in common: pairs sorted by length, cut into rectangles with
// little padding, checked, and their logits put back in order. A derived class runs one rectangle.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/backend.h"
#include "weights/model_config.h"

namespace rerankd {

// Row-major [rows x longest]; behind the end of a pair everything is 0.
struct PaddedBatch {
  int rows = 0, longest = 0;
  bool padded = false;  // does `mask` hold a 0?
  std::vector<int64_t> ids, type_ids, mask;
};

// Tokens of a rectangle (caps.batch_tokens): what stays in the cache of a core; what fills a GPU.
inline constexpr int kCpuRectangle = 1024, kGpuRectangle = 16384;

class PaddedBackend : public Backend {
 public:
  const BackendCaps& caps() const override { return caps_; }
  Status Warmup(std::span<const int> lengths) override;
  // Looks at `cancel` before each rectangle: a running one cannot be stopped. kResourceExhausted: no memory.
  Status Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
               BatchStats* stats) override;
  // Unhealthy for good once kMaxFailures rectangles in a row have failed: the device is lost.
  Status health() const override { return health_; }

  static constexpr int kMaxFailures = 3;

 protected:
  // caps.padded, num_labels and max_tokens are filled in from `config`.
  PaddedBackend(BackendCaps caps, const ModelConfig& config);

  // logits[r * num_labels + l] of row r; NaN before the call, so that an engine that silently did nothing is
  // noticed. May throw.
  virtual Status Run(const PaddedBatch& in, std::span<float> logits) = 0;
  // For a failure after which the engine cannot work any more.
  void MarkUnhealthy(const std::string& reason) { health_ = Unavailable(reason); }

 private:
  size_t Rows(int longest) const;  // of a full rectangle
  void Fill(const Batch& batch, std::span<const int> rows);
  std::string Failed() const;  // "name failed on 3 x 40 tokens: "
  Status CheckMemory() const;
  Status RunGuarded(std::span<float> logits);
  Status Note(Status status);

  BackendCaps caps_;
  const ModelConfig config_;
  PaddedBatch in_;
  std::vector<int> order_;
  std::vector<float> out_;
  int failures_ = 0;  // in a row
  Status health_;
};

// What an engine throws, as a status: kResourceExhausted for a lack of memory, which engines tell in their
// own words, else kInternal.
Status StatusOf(const std::exception& error);
bool MeansOutOfMemory(std::string_view message);

// The result of `make`, or the status of what it throws with `context` in front.
template <typename F>
auto Caught(const std::string& context, F make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::exception& error) {
    return StatusOf(error).WithContext(context);
  }
}

// Do 8-bit products add up without saturating? Those of x86 without VNNI add two in 16 bits. Engines use
// AVX-512's.
bool HasVnni();

// "device 'x' of backend y: reason" as kFailedPrecondition.
Status NoSuchDevice(const std::string& device, const std::string& backend, const std::string& reason);

}  // namespace rerankd
