#include "load/client.h"

#include <iterator>

namespace rerankd::load {

const char* OutcomeName(Outcome outcome) {
  static constexpr const char* kNames[] = {"ok",
                                           "refused",
                                           "timeout",
                                           "connection failed",
                                           "error",
                                           "garbage",
                                           "wrong number of scores",
                                           "score not finite"};
  static_assert(std::size(kNames) == kOutcomes);
  return kNames[static_cast<int>(outcome)];
}

}  // namespace rerankd::load
