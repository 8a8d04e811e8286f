// A log-linear histogram (the HdrHistogram layout): fixed memory, relative error below 2^-kPrecisionBits.
// Not thread-safe: one owner, or one per thread and Merge().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rerankd {

class Histogram {
 public:
  // Values are non-negative integers (say nanoseconds); larger than 2^62 counts as 2^62.
  void Record(int64_t value, int64_t count = 1);
  void Merge(const Histogram& other);
  void Clear();

  int64_t count() const { return count_; }
  int64_t min() const { return count_ > 0 ? min_ : 0; }
  int64_t max() const { return max_; }
  double mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  // The smallest recorded magnitude with at least `percentile` percent of the values at or below it; 0 when
  // empty.
  int64_t Percentile(double percentile) const;

 private:
  static constexpr int kPrecisionBits = 10;  // 1024 linear steps per power of two: error below 0.1 %
  static size_t IndexOf(int64_t value);
  static int64_t HighestIn(size_t index);

  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace rerankd
