// SIGINT and SIGTERM as a flag, for work that keeps what is done.
#pragma once

#include <signal.h>

#include <atomic>

namespace rerankd::experiment {

// While one lives, the first SIGINT or SIGTERM sets flag(); a second one ends the process as usual. At most
// one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  const std::atomic<bool>& flag() const;

 private:
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
};

}  // namespace rerankd::experiment
