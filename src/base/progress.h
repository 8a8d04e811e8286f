// A progress bar on stderr, drawn at most ten times a second and only when stderr is a terminal.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace rerankd {

class ProgressBar {
 public:
  // `total` steps of `unit` ("pairs"); `enabled` false (for --quiet) draws nothing.
  ProgressBar(std::string label, int64_t total, std::string unit, bool enabled = true);
  ~ProgressBar();  // clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Set(int64_t done);
  void SetNote(std::string note) { note_ = std::move(note); }  // shown at the end of the line

 private:
  void Draw();

  const std::string label_, unit_;
  const int64_t total_;
  const bool enabled_;
  const TimePoint start_;
  std::string note_;
  int64_t done_ = 0;
  TimePoint drawn_{};
};

}  // namespace rerankd
