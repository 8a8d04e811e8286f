// The reference system's dynamic batching as a policy: requests that arrive within `timeout` of the first
// one, at most `max_requests` and until they have `max_tokens`, are held back and then served together.
// Thread-free.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace rerankd {

struct WindowOptions {
  bool enabled = false;
  int max_requests = 8;
  Duration timeout{};
  bool length_aware = false;  // serve the pairs of a window by length
  int64_t max_tokens = 0;     // 0 = no limit
};

class BatchWindow {
 public:
  explicit BatchWindow(const WindowOptions& options) : options_(options) {}

  struct Joined {
    uint64_t window;
    bool full;  // this request closed it
  };
  // Adds a request of `tokens` to the open window, or opens one named `next_id` (not 0).
  Joined Join(uint64_t next_id, TimePoint now, int64_t tokens) {
    if (window_ == 0) {
      window_ = next_id;
      closes_ = now + options_.timeout;
      requests_ = 0;
      tokens_ = 0;
    }
    tokens_ += tokens;
    const bool full = ++requests_ >= std::max(options_.max_requests, 1) ||
                      (options_.max_tokens > 0 && tokens_ >= options_.max_tokens);
    return {full ? std::exchange(window_, 0) : window_, full};
  }

  // The window that has to close by `now`; 0 if none.
  uint64_t CloseAt(TimePoint now) { return window_ != 0 && now >= closes_ ? std::exchange(window_, 0) : 0; }

  std::optional<TimePoint> closes() const { return window_ != 0 ? std::optional(closes_) : std::nullopt; }

 private:
  const WindowOptions options_;
  uint64_t window_ = 0;  // 0 = none is open
  TimePoint closes_{};
  int requests_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace rerankd
