// gzip and deflate bodies. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rerankd::serving {

// Unpacks a whole gzip or zlib ("deflate") stream of at most `limit` unpacked bytes. kResourceExhausted when
// it has more (nothing beyond `limit` is ever unpacked), kInvalidArgument when it is damaged or cut short.
Result<std::string> Unpack(std::string_view packed, uint64_t limit);

// As gzip, at the fastest level; "" if zlib fails.
std::string Gzip(std::string_view text);

}  // namespace rerankd::serving
