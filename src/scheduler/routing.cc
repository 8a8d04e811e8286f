#include "scheduler/routing.h"

#include <vector>

#include "base/text.h"

namespace rerankd {
namespace {

const std::vector<std::string>& Names() {
  static const std::vector<std::string> names = {"round_robin", "least_busy", "first_available", "first_idle",
                                                 "smart_idle"};
  return names;
}

// First instance, counting cyclically from `start`, that is alive and, if asked, idle; -1 if none.
int FirstFrom(std::span<const InstanceLoad> instances, int start, bool idle) {
  const int n = static_cast<int>(instances.size());
  for (int k = 0; k < n; ++k) {
    const int i = (start + k) % n;
    const InstanceLoad& load = instances[static_cast<size_t>(i)];
    if (load.alive && (!idle || load.requests == 0)) return i;
  }
  return -1;
}

int FewestRequests(std::span<const InstanceLoad> instances) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(instances.size()); ++i) {
    const InstanceLoad& load = instances[static_cast<size_t>(i)];
    if (load.alive && (best < 0 || load.requests < instances[static_cast<size_t>(best)].requests)) best = i;
  }
  return best;
}

}  // namespace

Result<Routing> ParseRouting(std::string_view name) {
  for (size_t i = 0; i < Names().size(); ++i)
    if (Names()[i] == name) return static_cast<Routing>(i);
  return InvalidArgument("routing_strategy '" + std::string(name) + "' is not one of " + Join(Names(), ", ") +
                         Hint(name, Names()));
}

std::string_view RoutingName(Routing routing) { return Names()[static_cast<size_t>(routing)]; }

int ChooseInstance(Routing routing, std::span<const InstanceLoad> instances, int last) {
  const int n = static_cast<int>(instances.size());
  const bool in_turn = routing == Routing::kRoundRobin || routing == Routing::kSmartIdle;
  const int start = in_turn && n > 0 ? (last + 1) % n : 0;
  if (routing != Routing::kLeastBusy) {
    const int idle = FirstFrom(instances, start, true);
    if (idle >= 0) return idle;
  }
  if (routing == Routing::kRoundRobin || routing == Routing::kFirstAvailable)
    return FirstFrom(instances, start, false);
  return FewestRequests(instances);
}

}  // namespace rerankd
