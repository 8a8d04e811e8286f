#include "serving/request_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <random>

namespace rerankd::serving {
namespace {

constexpr size_t kLongestId = 128;
constexpr std::string_view kTraceShape = "00-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";

bool IsLowerHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool AllZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::string NewId() {
  thread_local std::mt19937_64 random(std::random_device{}());
  const uint64_t a = random(), b = random();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff,
                     0x8000 | ((b >> 48) & 0x3fff), b & 0xffffffffffff);
}

std::string RequestId(std::string_view given) {
  const bool visible = std::all_of(given.begin(), given.end(), [](char c) { return c > ' ' && c < 0x7f; });
  return !given.empty() && given.size() <= kLongestId && visible ? std::string(given) : NewId();
}

std::string TraceParent(std::string_view given) {
  if (given.size() != kTraceShape.size()) return "";
  for (size_t i = 0; i < given.size(); ++i) {
    const bool fits = kTraceShape[i] >= 'a' ? IsLowerHex(given[i]) : given[i] == kTraceShape[i];
    if (!fits) return "";
  }
  if (AllZero(given.substr(3, 32)) || AllZero(given.substr(36, 16))) return "";
  return std::string(given);
}

}  // namespace rerankd::serving
