// JSON from files that nothing vouches for: duplicate keys and deep nesting are errors, nothing throws.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd {

// An object; kInvalidArgument with `source` and the position of the fault otherwise.
Result<nlohmann::json> ParseStrictJson(std::string_view text, const std::string& source);

// The object in a file of at most 16 MiB.
Result<nlohmann::json> ReadStrictJson(const std::string& path);

// The value as JSON text for a message, cut after 60 bytes.
std::string BriefJson(const nlohmann::json& value);

}  // namespace rerankd
