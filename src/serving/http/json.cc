#include "serving/http/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace rerankd::serving {
namespace {

constexpr int kMaxDepth = 64;
constexpr int kMaxValues = 2'000'000;  // a value takes about 50 bytes
constexpr int kMaxFields = 256;        // of one object: they are looked for one after another

Status WrongType(std::string_view key, const char* wanted, const Json& value) {
  return InvalidArgument("`" + std::string(key) + "` must be " + wanted + ", not " + value.type_name());
}

// Brackets and commas outside of strings. What is not JSON is left to the parser.
Status CheckShape(std::string_view text) {
  int depth = 0, values = 0;
  int fields[kMaxDepth + 1] = {};  // of the object that is open at each depth; a list counts nothing
  bool in_object[kMaxDepth + 1] = {};
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      i += c == '\\';
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    if (c == '[' || c == '{') {
      if (++depth > kMaxDepth)
        return InvalidArgument("the body is not valid JSON for this server: it is nested deeper than " +
                               std::to_string(kMaxDepth) + " levels");
      fields[depth] = 1;
      in_object[depth] = c == '{';
    } else if (c == ']' || c == '}') {
      depth = std::max(depth - 1, 0);
    } else if (c != ',') {
      continue;
    } else if (in_object[depth] && ++fields[depth] > kMaxFields) {
      return InvalidArgument("an object of the body has more than " + std::to_string(kMaxFields) + " fields");
    }
    values += c != ']' && c != '}';
    if (values > kMaxValues)
      return InvalidArgument("the body has more than " + std::to_string(kMaxValues) +
                             " values: split the request");
  }
  return {};
}

}  // namespace

Result<Json> ParseObject(std::string_view text) {
  RERANKD_RETURN_IF_ERROR(CheckShape(text));
  try {
    Json json = Json::parse(text);
    if (!json.is_object())
      return InvalidArgument(std::string("the body must be a JSON object, not ") + json.type_name());
    return json;
  } catch (const Json::exception& e) {
    return InvalidArgument(std::string("the body is not valid JSON: ") + e.what());
  }
}

Json ScoreJson(float score) {
  if (!std::isfinite(score)) return nullptr;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), score).ptr;
  double value = 0;
  std::from_chars(text, end, value);
  return value;
}

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

const Json* Find(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::string> RequiredString(const Json& object, std::string_view key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return InvalidArgument("`" + std::string(key) + "` is missing");
  if (!value->is_string()) return WrongType(key, "a string", *value);
  return value->get<std::string>();
}

Result<std::string> OptionalString(const Json& object, std::string_view key, std::string fallback) {
  if (Find(object, key) == nullptr) return fallback;
  return RequiredString(object, key);
}

Result<bool> OptionalBool(const Json& object, std::string_view key, bool fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return WrongType(key, "true or false", *value);
  return value->get<bool>();
}

Result<int64_t> ReadInteger(const Json& value, std::string_view name, int64_t min, int64_t max) {
  const bool fits =
      value.is_number_unsigned()
          ? max >= 0 && value.get<uint64_t>() <= static_cast<uint64_t>(max) &&
                (min <= 0 || value.get<uint64_t>() >= static_cast<uint64_t>(min))
          : value.is_number_integer() && value.get<int64_t>() >= min && value.get<int64_t>() <= max;
  if (fits) return value.get<int64_t>();
  return InvalidArgument("`" + std::string(name) + "` must be an integer from " + std::to_string(min) +
                         " to " + std::to_string(max));
}

Result<int> OptionalCount(const Json& object, std::string_view key, int fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  RERANKD_ASSIGN_OR_RETURN(const int64_t count, ReadInteger(*value, key, 0, std::numeric_limits<int>::max()));
  return static_cast<int>(count);
}

Result<std::vector<std::string>> RequiredStrings(const Json& object, std::string_view key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return InvalidArgument("`" + std::string(key) + "` is missing");
  if (!value->is_array()) return WrongType(key, "a list of strings", *value);
  std::vector<std::string> strings;
  strings.reserve(value->size());
  for (const Json& item : *value) {
    if (!item.is_string())
      return WrongType(std::string(key) + "[" + std::to_string(strings.size()) + "]", "a string", item);
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

}  // namespace rerankd::serving
