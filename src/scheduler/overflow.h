// What becomes of texts that are too long: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/request.h"

namespace rerankd {

// Fills in what `request` leaves to the server and makes PairOptions::truncation agree with the policy.
// kInvalidArgument: a negative number, or a stride longer than its window.
Status SettleOverflow(const OverflowOptions& defaults, ScoreRequest* request);

// A part of a document, in tokens.
struct TokenWindow {
  size_t begin = 0, size = 0;
};

struct WindowPlan {
  size_t window = 0, stride = 0;
  size_t most = 0;  // windows; 0 = no limit

  // For settled `options` and pairs that have room for `room` tokens of a document (at least 1).
  static WindowPlan For(const OverflowOptions& options, size_t room);
  // Windows that `tokens` need, at least 1.
  size_t Count(size_t tokens) const;
  TokenWindow At(size_t i, size_t tokens) const;
  // Is there a part of `tokens` that no window covers?
  bool Cuts(size_t tokens) const;
};

}  // namespace rerankd
