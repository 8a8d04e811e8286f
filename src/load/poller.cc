#include "load/poller.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace rerankd::load {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
Poller::~Poller() { close(epoll_); }

bool Poller::Add(int fd, uint32_t events, void* owner) {
  epoll_event event{events, {.ptr = owner}};
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::Change(int fd, uint32_t events, void* owner) {
  epoll_event event{events, {.ptr = owner}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

std::span<const epoll_event> Poller::Wait(Duration timeout) {
  const int64_t ns = std::max<int64_t>(0, timeout.count());
  const int count = WaitFor({ns / kNsPerSecond, ns % kNsPerSecond});
  return std::span<const epoll_event>(events_).first(static_cast<size_t>(std::max(count, 0)));
}

int Poller::WaitFor(const timespec& timeout) {
  const auto room = static_cast<int>(events_.size());
  if (has_pwait2_) {
    const int count = epoll_pwait2(epoll_, events_.data(), room, &timeout, nullptr);
    if (count >= 0 || errno != ENOSYS) return count;
    has_pwait2_ = false;
  }
  pollfd poll{epoll_, POLLIN, 0};
  ppoll(&poll, 1, &timeout, nullptr);
  return epoll_wait(epoll_, events_.data(), room, 0);
}

}  // namespace rerankd::load
