#include "base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace rerankd {

// Values below 2^kPrecisionBits have a slot each. Above, a value with its top bit at position b falls into
// octave b - kPrecisionBits + 1, whose 2^(kPrecisionBits) / 2 ... slots share one width; see Gil Tene's
// HdrHistogram.
size_t Histogram::IndexOf(int64_t value) {
  const auto v = static_cast<uint64_t>(value);
  const int width = static_cast<int>(std::bit_width(v));
  const int shift = std::max(0, width - (kPrecisionBits + 1));
  return (static_cast<size_t>(shift) << kPrecisionBits) + static_cast<size_t>(v >> shift);
}

int64_t Histogram::HighestIn(size_t index) {
  constexpr size_t kSlots = size_t{1} << kPrecisionBits;
  const size_t shift = index < 2 * kSlots ? 0 : (index >> kPrecisionBits) - 1;
  const uint64_t mantissa = index - (shift << kPrecisionBits);
  return static_cast<int64_t>(((mantissa + 1) << shift) - 1);
}

void Histogram::Record(int64_t value, int64_t count) {
  value = std::clamp<int64_t>(value, 0, int64_t{1} << 62);
  const size_t index = IndexOf(value);
  if (index >= counts_.size()) counts_.resize(index + 1);
  counts_[index] += count;
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  count_ += count;
  sum_ += static_cast<double>(value) * static_cast<double>(count);
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
  for (size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
}

void Histogram::Clear() { *this = Histogram(); }

int64_t Histogram::Percentile(double percentile) const {
  const auto rank =
      std::max<int64_t>(1, std::llround(std::ceil(percentile * static_cast<double>(count_) / 100)));
  int64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::clamp(HighestIn(i), min(), max_);
  }
  return max_;
}

}  // namespace rerankd
