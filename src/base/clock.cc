#include "base/clock.h"

namespace rerankd {

const SteadyClock& SteadyClock::Get() {
  static const SteadyClock clock;
  return clock;
}

}  // namespace rerankd
