// What ties a request to its callers' traces and to its line in the access log.
#pragma once

#include <string>
#include <string_view>

namespace rerankd::serving {

std::string NewId();  // 32 random hexadecimal digits in UUID form

// The client's own id (x-request-id) if it is 1 to 128 visible ASCII characters, else a new one.
std::string RequestId(std::string_view given);

// `given` if it is a W3C traceparent of version 00, else "".
std::string TraceParent(std::string_view given);

}  // namespace rerankd::serving
