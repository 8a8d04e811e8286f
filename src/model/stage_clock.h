// Where the time of a forward pass goes: a stopwatch that the encoder reads between its stages.
#pragma once

#include <array>
#include <cstddef>

#include "base/clock.h"

namespace rerankd {

enum class Stage {
  kEmbed,            // gather, sum, LayerNorm (int8: and codes)
  kQueryKeyValue,    // product
  kAttention,        // scores, softmax, values
  kAttentionOutput,  // product
  kNorm,             // residual sum and LayerNorm (int8: and codes)
  kIntermediate,     // product with its activation
  kOutput,           // product
  kEncode,           // int8: codes of what no norm has made
  kHead,             // pooler, classifier
};

inline constexpr size_t kStages = static_cast<size_t>(Stage::kHead) + 1;

// One thread. A reading costs some 25 ns; there are 5 to 13 a layer and micro-batch.
class StageClock {
 public:
  void Start() { last_ = SteadyClock::Get().Now(); }
  // The time since the last reading belongs to `stage`.
  void Mark(Stage stage) {
    const TimePoint now = SteadyClock::Get().Now();
    times_[static_cast<size_t>(stage)] += now - last_;
    last_ = now;
  }
  Duration time(Stage stage) const { return times_[static_cast<size_t>(stage)]; }

 private:
  TimePoint last_;
  std::array<Duration, kStages> times_{};
};

}  // namespace rerankd
