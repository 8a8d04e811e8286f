// Who sends a request, as far as the server knows.
#pragma once

#include <string>

namespace rerankd::serving {

struct Caller {
  std::string name;   // of the API key; "" while the server has no keys
  double weight = 1;  // share of the machine against the other keys
  bool admin = false;
};

}  // namespace rerankd::serving
