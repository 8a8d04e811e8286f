// The times that a target reports about a request.
#pragma once

#include <string_view>

#include "load/client.h"

namespace rerankd::load {

// Of "queue;dur=0.125, tokenize;dur=…" (HTTP's Server-Timing, also a trailing metadatum of our gRPC).
void ReadServerTiming(std::string_view text, Reply* reply);

// A non-negative decimal number; -1 if it is something else.
double NonNegative(std::string_view text);

}  // namespace rerankd::load
