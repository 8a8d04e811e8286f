// How often requests are due, as people write it.
#pragma once

#include <string>

#include "base/status.h"

namespace rerankd {

struct WantedRate {
  double value = 0;          // requests/s, or a share: 0.8
  bool of_capacity = false;  // the share is of what a closed loop reaches
};

// "12.5", "80%". kInvalidArgument names the text.
Result<WantedRate> ParseRate(const std::string& text);

}  // namespace rerankd
