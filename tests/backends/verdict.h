// Does a backend run here, is it rightly absent, or is it broken? Only an absent one may be skipped.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"

namespace rerankd {

struct Subject {
  std::string backend, precision, device;
};

enum class Standing {
  kRuns,
  kAbsent,  // not built, its engine is not installed, or this machine has no such device or arithmetic
  kBroken,  // anything else: it cannot be loaded, throws, or refuses what it says it has
};

struct Verdict {
  Standing standing;
  std::string reason;
};

// `make` makes a backend of the subject for a model that every backend can run.
Verdict Judge(const Subject& subject, const std::function<Status()>& make);

}  // namespace rerankd
