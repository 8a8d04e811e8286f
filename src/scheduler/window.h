// The reference system's dynamic batching as a policy: requests that arrive within `timeout` of the first
// one, at most `max_requests`, are held back and then served together. Thread-free.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace rerankd {

struct WindowOptions {
  bool enabled = false;
  int max_requests = 8;
  Duration timeout{};
  bool length_aware = false;  // serve the pairs of a window by length
};

class BatchWindow {
 public:
  explicit BatchWindow(const WindowOptions& options) : options_(options) {}

  struct Joined {
    uint64_t window;
    bool full;  // this request closed it
  };
  // Adds a request to the open window, or opens one named `next_id`.
  Joined Join(uint64_t next_id, TimePoint now) {
    if (!window_) {
      window_ = next_id;
      closes_ = now + options_.timeout;
      requests_ = 0;
    }
    const uint64_t window = *window_;
    const bool full = ++requests_ >= std::max(options_.max_requests, 1);
    if (full) window_.reset();
    return {window, full};
  }

  // The window that has to close by `now`.
  std::optional<uint64_t> CloseAt(TimePoint now) {
    if (!window_ || now < closes_) return std::nullopt;
    const uint64_t window = *window_;
    window_.reset();
    return window;
  }

  std::optional<TimePoint> closes() const { return window_ ? std::optional(closes_) : std::nullopt; }

 private:
  const WindowOptions options_;
  std::optional<uint64_t> window_;
  TimePoint closes_{};
  int requests_ = 0;
};

}  // namespace rerankd
