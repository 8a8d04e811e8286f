// Listening addresses: spelling and the reason why one cannot be had.
#pragma once

#include <string>

#include "base/status.h"

namespace rerankd::serving {

std::string JoinHostPort(const std::string& host, int port);  // "[::1]:80" for IPv6

// Why `host:port` cannot be bound, as an error that names the address and the setting to change.
Status CannotListen(const std::string& host, int port, const std::string& reason, const std::string& setting);

// Tries to bind and says what the system answers ("Address already in use"); "" if it works now.
std::string BindFailure(const std::string& host, int port);

}  // namespace rerankd::serving
