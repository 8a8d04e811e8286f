#include "load/stage_times.h"

#include <charconv>
#include <cmath>

#include "base/text.h"

namespace rerankd::load {

double NonNegative(std::string_view text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size() && std::isfinite(value) && value >= 0
             ? value
             : -1;
}

void ReadServerTiming(std::string_view text, Reply* reply) {
  for (std::string_view part : Split(text, ',')) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    const size_t mark = part.find(";dur=");
    if (mark == std::string_view::npos) continue;
    const std::string_view name = part.substr(0, mark);
    const double value = NonNegative(part.substr(mark + 5));
    if (name == "queue") reply->queue_ms = value;
    if (name == "tokenize") reply->tokenize_ms = value;
    if (name == "inference") reply->inference_ms = value;
  }
}

}  // namespace rerankd::load
