#include "serving/http/json.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace rerankd::serving {
namespace {

Status WrongType(std::string_view key, const char* wanted, const Json& value) {
  return InvalidArgument("`" + std::string(key) + "` must be " + wanted + ", not " + value.type_name());
}

}  // namespace

Result<Json> ParseObject(std::string_view text) {
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

Result<int> OptionalCount(const Json& object, std::string_view key, int fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  const bool fits =
      value->is_number_unsigned() && value->get<uint64_t>() <= uint64_t{std::numeric_limits<int>::max()};
  if (!fits) return InvalidArgument("`" + std::string(key) + "` must be an integer from 0 to 2147483647");
  return value->get<int>();
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
