// JSON bodies: parsing, typed access to fields with errors that name the field, and scores as short numbers.
// Unknown fields are ignored, null counts as absent, of repeated keys the last wins. Numbers are checked
// before they are converted.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace rerankd::serving {

using Json = nlohmann::ordered_json;

// An object, or kInvalidArgument that says where the text stops being JSON (UTF-8 included) or that it is
// nested too deep, has too many values or an object with too many fields: bounds on the memory and time that
// a small body may cost.
Result<Json> ParseObject(std::string_view text);

// The shortest decimal that reads back as this float (0.9, not 0.89999998).
Json ScoreJson(float score);

// Strings that came in are UTF-8; anything else would be replaced, never thrown about.
std::string Dump(const Json& json);

// The value of `key`, or nullptr if it is absent or null.
const Json* Find(const Json& object, std::string_view key);

Result<std::string> RequiredString(const Json& object, std::string_view key);
Result<std::string> OptionalString(const Json& object, std::string_view key, std::string fallback);
Result<bool> OptionalBool(const Json& object, std::string_view key, bool fallback);
// An integer between `min` and `max`; `name` stands in the error.
Result<int64_t> ReadInteger(const Json& value, std::string_view name, int64_t min, int64_t max);
// Between 0 and 2^31 - 1.
Result<int> OptionalCount(const Json& object, std::string_view key, int fallback);
Result<std::vector<std::string>> RequiredStrings(const Json& object, std::string_view key);

}  // namespace rerankd::serving
