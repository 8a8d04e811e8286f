#include "load/arrivals.h"

#include <functional>
#include <utility>

namespace rerankd::load {
namespace {

// Requests of one size; number i at `time(i)` seconds. `time` is asked once for each, in order.
class Generated final : public Arrivals {
 public:
  Generated(const ArrivalSpec& spec, std::function<double(int64_t)> time)
      : spec_(spec), time_(std::move(time)) {}

  std::optional<Arrival> Next() override {
    if (spec_.requests && next_ >= *spec_.requests) return std::nullopt;
    const double seconds = time_(next_);
    if (spec_.duration_s && seconds >= *spec_.duration_s) return std::nullopt;
    return Arrival{FromMs(seconds * 1000), WorkOf(next_++, spec_.pairs, spec_.dataset_pairs)};
  }

 private:
  const ArrivalSpec spec_;
  std::function<double(int64_t)> time_;
  int64_t next_ = 0;
};

class Replay final : public Arrivals {
 public:
  explicit Replay(std::vector<Arrival> arrivals) : arrivals_(std::move(arrivals)) {}
  std::optional<Arrival> Next() override {
    if (next_ == arrivals_.size()) return std::nullopt;
    return arrivals_[next_++];
  }

 private:
  const std::vector<Arrival> arrivals_;
  size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Arrivals> MakeImmediate(const ArrivalSpec& spec) {
  return std::make_unique<Generated>(spec, [](int64_t) { return 0.0; });
}

std::unique_ptr<Arrivals> MakeConstant(const ArrivalSpec& spec, double rate) {
  return std::make_unique<Generated>(spec, [rate](int64_t i) { return static_cast<double>(i) / rate; });
}

std::unique_ptr<Arrivals> MakePoisson(const ArrivalSpec& spec, double rate, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(rate);
  return std::make_unique<Generated>(
      spec, [random, gap, seconds = 0.0](int64_t) mutable { return seconds += gap(random); });
}

std::unique_ptr<Arrivals> MakeReplay(std::vector<Arrival> arrivals) {
  return std::make_unique<Replay>(std::move(arrivals));
}

}  // namespace rerankd::load
