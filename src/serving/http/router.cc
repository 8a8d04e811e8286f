#include "serving/http/router.h"

#include <optional>
#include <span>

#include "base/text.h"

namespace rerankd::serving {
namespace {

using Parts = std::span<const std::string_view>;

constexpr size_t kMostParts = 64;  // of a path with parameters: trying them all costs the square

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsParameter(std::string_view part) { return !part.empty() && part.front() == '{'; }

// Percent-encoded bytes as themselves; a stray % stays one.
std::string Decode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (text[i] == '%' && low >= 0) {
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

bool MatchParts(Parts wanted, Parts given, std::vector<std::string>* found);

// {…} takes the fewest parts that let the rest match.
bool MatchParameter(Parts wanted, Parts given, std::vector<std::string>* found) {
  std::string value;
  for (size_t taken = 1; taken <= given.size() && !given[taken - 1].empty(); ++taken) {
    value += (taken > 1 ? "/" : "") + Decode(given[taken - 1]);
    found->push_back(value);
    if (MatchParts(wanted.subspan(1), given.subspan(taken), found)) return true;
    found->pop_back();
  }
  return false;
}

bool MatchParts(Parts wanted, Parts given, std::vector<std::string>* found) {
  if (wanted.empty() || given.empty()) return wanted.empty() && given.empty();
  if (IsParameter(wanted[0])) return MatchParameter(wanted, given, found);
  return wanted[0] == given[0] && MatchParts(wanted.subspan(1), given.subspan(1), found);
}

// What the {…} of `pattern` match in `path`, whose parts are given too; nothing if it does not match.
std::optional<std::vector<std::string>> MatchPath(std::string_view pattern, std::string_view path,
                                                  Parts parts) {
  std::vector<std::string> found;
  const bool matches = pattern.find('{') == std::string_view::npos
                           ? pattern == path
                           : parts.size() <= kMostParts && MatchParts(Split(pattern, '/'), parts, &found);
  return matches ? std::optional(std::move(found)) : std::nullopt;
}

}  // namespace

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  Match match;
  const std::vector<std::string_view> given = Split(path, '/');
  for (const Route& route : routes_) {
    auto parts = MatchPath(route.pattern, path, given);
    if (!parts) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET"))
      return {&route, std::move(*parts), "", route.error};
    match.error = match.error != nullptr ? match.error : route.error;
    if (match.allow.find(route.method) == std::string::npos)
      match.allow += (match.allow.empty() ? "" : ", ") + route.method;
  }
  return match;
}

}  // namespace rerankd::serving
