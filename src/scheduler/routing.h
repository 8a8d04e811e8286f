// Which instance becomes the home of a request: pure functions.
//
// Routing happens at admission, because an instance may have its own max_length and precision: a request is
// tokenised for, and wholly scored by, instances of one kind. Its home serves it first; a worker that would
// idle may still take a micro-batch from an instance of the same kind (scheduler_core.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd {

enum class Routing {
  kRoundRobin,      // next in turn among the idle; if none is idle, next in turn among all
  kLeastBusy,       // fewest unfinished requests
  kFirstAvailable,  // first idle, else the first
  kFirstIdle,       // first idle, else fewest unfinished requests
  kSmartIdle,       // first idle counting from after the last chosen, else fewest unfinished requests
};

Result<Routing> ParseRouting(std::string_view name);
std::string_view RoutingName(Routing routing);

struct InstanceLoad {
  bool alive = true;     // has a worker that can score
  int64_t requests = 0;  // routed here, unfinished; idle = none
};

// Index of the chosen instance; -1 if none is alive. `last` = the previous choice (-1 at first). Equal loads
// go to the lower index.
int ChooseInstance(Routing routing, std::span<const InstanceLoad> instances, int last);

}  // namespace rerankd
