#include "serving/http/router.h"

#include <optional>

#include "base/text.h"

namespace rerankd::serving {
namespace {

// What the {…} of `pattern` match in `path`; nothing if it does not match.
std::optional<std::vector<std::string>> MatchPath(std::string_view pattern, std::string_view path) {
  std::vector<std::string> parts;
  if (pattern.find('{') == std::string_view::npos) {
    if (pattern != path) return std::nullopt;
    return parts;
  }
  const auto wanted = Split(pattern, '/');
  const auto given = Split(path, '/');
  if (wanted.size() != given.size()) return std::nullopt;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].empty() && wanted[i].front() == '{') {
      if (given[i].empty()) return std::nullopt;
      parts.emplace_back(given[i]);
    } else if (wanted[i] != given[i]) {
      return std::nullopt;
    }
  }
  return parts;
}

}  // namespace

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  Match match;
  for (const Route& route : routes_) {
    auto parts = MatchPath(route.pattern, path);
    if (!parts) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET"))
      return {&route, std::move(*parts), ""};
    match.allow += (match.allow.empty() ? "" : ", ") + route.method;
  }
  return match;
}

}  // namespace rerankd::serving
