// Bytes that the requests of both servers hold, all together, up to a limit. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/status.h"

namespace rerankd::serving {

class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  // What one request holds; gives it back at its end. Not thread-safe.
  class Share {
   public:
    explicit Share(ByteBudget& budget) : budget_(budget) {}
    ~Share() { Set(0); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    int64_t bytes() const { return bytes_; }
    // kResourceExhausted, and no change, if all together would hold too many.
    Status Grow(int64_t bytes) {
      if ((budget_.used_ += bytes) > budget_.limit_) {
        budget_.used_ -= bytes;
        return ResourceExhausted(
            "the requests that are being served have too many bytes together (server.max_buffered_bytes)");
      }
      bytes_ += bytes;
      return {};
    }
    // What cannot be refused any more: a reply.
    void Set(int64_t bytes) { budget_.used_ += bytes - std::exchange(bytes_, bytes); }

   private:
    ByteBudget& budget_;
    int64_t bytes_ = 0;
  };

 private:
  const int64_t limit_;
  std::atomic<int64_t> used_{0};
};

}  // namespace rerankd::serving
