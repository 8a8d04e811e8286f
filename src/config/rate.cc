#include "config/rate.h"

#include <fmt/format.h>

#include <charconv>

namespace rerankd {

Result<WantedRate> ParseRate(const std::string& text) {
  WantedRate rate;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, rate.value);
  rate.of_capacity = end - stop == 1 && *stop == '%';
  if (error != std::errc() || (stop != end && !rate.of_capacity) || !(rate.value > 0 && rate.value <= 1e9))
    return InvalidArgument(fmt::format(
        "'{}' is not a rate above 0: requests a second, or a share of capacity such as 80%", text));
  if (rate.of_capacity) rate.value /= 100;
  return rate;
}

}  // namespace rerankd
