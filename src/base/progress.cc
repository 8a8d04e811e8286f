#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace rerankd {
namespace {

constexpr Duration kMinRedraw = std::chrono::milliseconds(100);

int TerminalWidth() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total, std::string unit, bool enabled)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      enabled_(enabled && isatty(STDERR_FILENO)),
      start_(SteadyClock::Get().Now()) {}

ProgressBar::~ProgressBar() {
  if (enabled_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::Set(int64_t done) {
  done_ = std::min(done, total_);
  if (!enabled_) return;
  const TimePoint now = SteadyClock::Get().Now();
  if (now - drawn_ < kMinRedraw && done_ < total_) return;
  drawn_ = now;
  Draw();
}

void ProgressBar::Draw() {
  constexpr int kWidth = 24;
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  const double seconds = ToSeconds(drawn_ - start_);
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const int filled = static_cast<int>(share * kWidth);
  std::string line =
      fmt::format("{} [{}{}] {:3.0f}%  {}/{} {}  {:.0f} {}/s", label_, std::string(filled, '#'),
                  std::string(kWidth - filled, '.'), share * 100, done_, total_, unit_, rate, unit_);
  if (rate > 0 && done_ < total_)
    line += fmt::format("  {:.0f}s left", static_cast<double>(total_ - done_) / rate);
  if (!note_.empty()) line += "  " + note_;
  line.resize(std::min<size_t>(line.size(), static_cast<size_t>(TerminalWidth() - 1)));
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
}

}  // namespace rerankd
