#include "scheduler/overflow.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace rerankd {
namespace {

int OrDefault(int value, int fallback) { return value > 0 ? value : fallback; }

// The lower of two limits of which 0 means none.
int Lower(int a, int b) { return a > 0 && b > 0 ? std::min(a, b) : std::max(a, b); }

}  // namespace

Status SettleOverflow(const OverflowOptions& defaults, ScoreRequest* request) {
  OverflowOptions& options = request->overflow;
  for (const int value : {options.max_tokens_per_query, options.max_tokens_per_doc, options.window,
                          options.stride, options.max_windows_per_doc})
    if (value < 0)
      return InvalidArgument(
          fmt::format("a limit on the tokens or windows of a text is {}: it must not be negative", value));
  Truncation& truncation = request->pair_options.truncation;
  if (!options.policy)
    options.policy =
        truncation == Truncation::kError ? Overflow::kError : defaults.policy.value_or(Overflow::kTruncate);
  options.max_tokens_per_query = OrDefault(options.max_tokens_per_query, defaults.max_tokens_per_query);
  options.max_tokens_per_doc = OrDefault(options.max_tokens_per_doc, defaults.max_tokens_per_doc);
  options.max_windows_per_doc = Lower(options.max_windows_per_doc, defaults.max_windows_per_doc);
  if (options.window == 0 && options.stride == 0) options.stride = defaults.stride;
  options.window = OrDefault(options.window, defaults.window);
  if (options.window > 0 && options.stride > options.window)
    return InvalidArgument(
        fmt::format("stride {} is longer than the window of {} tokens: what lies between "
                    "two windows would not be looked at",
                    options.stride, options.window));
  if (*options.policy == Overflow::kError) {
    truncation = Truncation::kError;
  } else if (*options.policy == Overflow::kMaxWindow) {
    truncation = Truncation::kDocumentOnly;
  } else if (truncation == Truncation::kError) {
    truncation = Truncation::kLongestFirst;
  }
  return {};
}

WindowPlan WindowPlan::For(const OverflowOptions& options, size_t room) {
  WindowPlan plan;
  plan.window = options.window > 0 ? std::min(static_cast<size_t>(options.window), room) : room;
  const size_t half = std::max<size_t>(plan.window / 2, 1);
  plan.stride = options.stride > 0 ? std::min(static_cast<size_t>(options.stride), plan.window) : half;
  plan.most = static_cast<size_t>(options.max_windows_per_doc);
  return plan;
}

size_t WindowPlan::Count(size_t tokens) const {
  if (tokens <= window) return 1;
  const size_t needed = 1 + (tokens - window + stride - 1) / stride;
  return most > 0 ? std::min(needed, most) : needed;
}

TokenWindow WindowPlan::At(size_t i, size_t tokens) const {
  const size_t begin = i * stride;
  return {begin, std::min(window, tokens - begin)};
}

bool WindowPlan::Cuts(size_t tokens) const { return (Count(tokens) - 1) * stride + window < tokens; }

}  // namespace rerankd
