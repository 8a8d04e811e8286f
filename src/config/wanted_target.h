// A server that is running somewhere, as people write it in a configuration.
#pragma once

#include <string>

#include "base/status.h"

namespace rerankd {

struct WantedTarget {
  std::string protocol;           // not checked here: who sends the load knows them
  std::string url;                // "http://host:port", "host:port"
  std::string model = "default";  // named to targets that want one
};

// "PROTOCOL URL", "PROTOCOL URL MODEL". kInvalidArgument names the text.
Result<WantedTarget> ParseTarget(const std::string& text);

}  // namespace rerankd
