// Waits for sockets and for a time at once. For one thread.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/clock.h"

namespace rerankd::load {

class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `events` of epoll(7), level-triggered; `owner` comes back with them. A descriptor that is closed is
  // forgotten. False, with errno: the system has no room for it.
  bool Add(int fd, uint32_t events, void* owner);
  void Change(int fd, uint32_t events, void* owner);
  // Returns when something happened, after `timeout` or, rarely, before. Valid until the next call. Exact to
  // the thread's timer slack, where epoll_wait's own timeout would round up to milliseconds.
  std::span<const epoll_event> Wait(Duration timeout);

 private:
  int WaitFor(const timespec& timeout);

  const int epoll_;
  bool has_pwait2_ = true;  // Linux 5.11
  std::array<epoll_event, 64> events_;
};

}  // namespace rerankd::load
