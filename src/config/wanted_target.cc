#include "config/wanted_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace rerankd {

Result<WantedTarget> ParseTarget(const std::string& text) {
  const auto parts = Split(text, ' ');
  const bool empty = std::any_of(parts.begin(), parts.end(), [](auto part) { return part.empty(); });
  if (parts.size() < 2 || parts.size() > 3 || empty)
    return InvalidArgument(fmt::format(
        "'{}' is not a target: write PROTOCOL URL [MODEL], such as tei http://127.0.0.1:8080", text));
  WantedTarget target;
  target.protocol = parts[0];
  target.url = parts[1];
  if (parts.size() == 3) target.model = parts[2];
  return target;
}

}  // namespace rerankd
