// Small text helpers: UTF-8 checks, hints for misspelt names, quoting for messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rerankd {

// Byte offset of the first byte that is not well-formed UTF-8 (Unicode table 3-7); nothing when all of it is.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

// The candidate closest to `name` by edit distance (at most a third of the longer one's length away); empty
// if none is near.
std::string NearestName(std::string_view name, std::span<const std::string> candidates);

// " (did you mean 'x'?)" or "".
std::string Hint(std::string_view name, std::span<const std::string> candidates);

std::vector<std::string_view> Split(std::string_view text, char separator);
std::string Join(std::span<const std::string> parts, std::string_view separator);

}  // namespace rerankd
