#include "load/arrivals.h"

#include <functional>
#include <utility>

namespace rerankd::load {
namespace {

// Requests of one size, each `gap()` seconds after the one before; the first at `gap()` if `gap_first`.
class Generated final : public Arrivals {
 public:
  Generated(const ArrivalSpec& spec, bool gap_first, std::function<double()> gap)
      : spec_(spec), gap_(std::move(gap)), seconds_(gap_first ? gap_() : 0) {}

  std::optional<Arrival> Next() override {
    if (spec_.requests && next_ >= *spec_.requests) return std::nullopt;
    if (spec_.duration_s && seconds_ >= *spec_.duration_s) return std::nullopt;
    const Arrival arrival{FromMs(seconds_ * 1000), WorkOf(next_++, spec_.pairs, spec_.dataset_pairs)};
    seconds_ += gap_();
    return arrival;
  }

 private:
  const ArrivalSpec spec_;
  const std::function<double()> gap_;
  double seconds_;
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
  return std::make_unique<Generated>(spec, false, [] { return 0.0; });
}

std::unique_ptr<Arrivals> MakeConstant(const ArrivalSpec& spec, double rate) {
  return std::make_unique<Generated>(spec, false, [rate] { return 1 / rate; });
}

std::unique_ptr<Arrivals> MakePoisson(const ArrivalSpec& spec, double rate, uint64_t seed) {
  auto random = std::make_shared<std::mt19937_64>(seed);
  std::exponential_distribution<double> gap(rate);
  return std::make_unique<Generated>(spec, true, [random, gap]() mutable { return gap(*random); });
}

std::unique_ptr<Arrivals> MakeReplay(std::vector<Arrival> arrivals) {
  return std::make_unique<Replay>(std::move(arrivals));
}

}  // namespace rerankd::load
