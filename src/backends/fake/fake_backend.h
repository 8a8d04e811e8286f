// A scripted double: a backend with documented scores, timing and failures, for tests of everything above the
// port. Its logit l of a pair is
//   (FNV-1a-64(l, id_0, id_1, ...) mod 20001) / 1000 - 10
// with every number hashed as four little-endian bytes: it depends on that pair alone.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "core/backend.h"

namespace rerankd {

struct FakeOptions {
  double ms_per_token = 0;  // of cost: computed tokens, padding included
  double ms_per_batch = 0;
  int fail_every = 0;           // every n-th Score of an instance fails; 0 = never
  int out_of_memory_every = 0;  // every n-th Score of an instance finds no memory; 0 = never
  int nan_every = 0;            // every n-th Score of an instance gives its first pair NaN; 0 = never
  int lost_after = 0;           // after n Scores of an instance it fails for good and is unhealthy; 0 = never
  bool padded = false;
  int num_labels = 1;
  int max_tokens = 512;
  int max_rows = 0;
  int batch_tokens = 256;
  std::function<void(const Batch&)> on_score;  // called first in every Score; not settable by text
};

// Parses a device string: "cpu", "fake" or "fake:key=value,..." with the names of the fields above; what it
// leaves out keeps its value in `options`.
Result<FakeOptions> ParseFakeOptions(std::string_view device, FakeOptions options = {});

float FakeLogit(std::span<const int32_t> ids, int label);

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(FakeOptions options);

  const BackendCaps& caps() const override { return caps_; }
  Status Warmup(std::span<const int> lengths) override;
  // Sleeps for the scripted time; looks at `cancel` every few milliseconds.
  Status Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
               BatchStats* stats) override;
  BackendUsage usage() const override { return {}; }
  Status health() const override;

 private:
  bool lost() const { return options_.lost_after > 0 && calls_ > options_.lost_after; }

  const FakeOptions options_;
  const BackendCaps caps_;
  int64_t calls_ = 0;
};

}  // namespace rerankd
