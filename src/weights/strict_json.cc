#include "weights/strict_json.h"

#include <filesystem>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "base/file.h"

namespace rerankd {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr uintmax_t kMaxFileBytes = 16 << 20;
constexpr size_t kBriefBytes = 60;

// Watches the parser: nlohmann-json keeps the last of equal keys silently, and its own depth is unlimited.
class Watcher {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) fault_ = "is nested deeper than " + std::to_string(kMaxDepth) + " levels";
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end && !keys_.empty()) keys_.pop_back();
    if (event == json::parse_event_t::key) CheckKey(parsed.get_ref<const std::string&>());
    return fault_.empty();
  }
  const std::string& fault() const { return fault_; }

 private:
  void CheckKey(const std::string& key) {
    if (!keys_.empty() && !keys_.back().insert(key).second) fault_ = "has the key '" + key + "' twice";
  }

  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  std::string fault_;
};

// "[json.exception.parse_error.101] parse error at …" without the part in brackets.
std::string Reason(const json::exception& error) {
  const std::string what = error.what();
  const size_t bracket = what.find("] ");
  return bracket == std::string::npos ? what : what.substr(bracket + 2);
}

}  // namespace

Result<json> ParseStrictJson(std::string_view text, const std::string& source) {
  Watcher watcher;
  try {
    json parsed = json::parse(text, std::ref(watcher));
    if (!watcher.fault().empty()) return InvalidArgument("'" + source + "' " + watcher.fault());
    if (!parsed.is_object()) return InvalidArgument("'" + source + "' is not a JSON object");
    return parsed;
  } catch (const json::exception& error) {
    return InvalidArgument("'" + source + "' is not valid JSON: " + Reason(error));
  }
}

Result<json> ReadStrictJson(const std::string& path) {
  std::error_code ec;
  const uintmax_t size = std::filesystem::file_size(path, ec);
  if (!ec && size > kMaxFileBytes)
    return InvalidArgument("'" + path + "' has " + std::to_string(size) + " bytes; at most " +
                           std::to_string(kMaxFileBytes) + " are read");
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseStrictJson(text, path);
}

std::string BriefJson(const json& value) {
  std::string text = value.dump(-1, ' ', true);  // ASCII: a cut cannot split a character
  if (text.size() > kBriefBytes) text = text.substr(0, kBriefBytes) + "...";
  return text;
}

}  // namespace rerankd
