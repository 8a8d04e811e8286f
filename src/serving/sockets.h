// TCP sockets of both servers: listening on every address of a host, and what is set on each connection.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "config/settings.h"

namespace rerankd::serving {

namespace asio = boost::asio;
using boost::system::error_code;

// Co_awaited operations give (error, result) instead of throwing.
inline constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

// Until accepting is tried again after the system had no descriptor for a connection.
constexpr auto kNoDescriptor = std::chrono::milliseconds(50);

std::string JoinHostPort(const std::string& host, int port);  // "[::1]:80" for IPv6

// Listens on every address of `host` (`localhost` may be 127.0.0.1 and ::1), all on one port (0 = any free
// one); addresses that this machine does not have are left out if it has another one. One acceptor an
// address. kUnavailable names the address that cannot be had, the reason, and `setting`, which has the port.
Result<std::list<asio::ip::tcp::acceptor>> Listen(const asio::any_io_executor& executor,
                                                  const std::string& host, int port,
                                                  const std::string& setting);

// No delay for small replies; dead clients that never said goodbye are found by the kernel within a minute,
// while a request of theirs is served too.
void SetTcpOptions(int socket);

// Connections that one server takes at once: server.max_connections, but both servers together leave a
// quarter of the files that the process may open to models and logs.
int ConnectionLimit(const ServerSettings& settings);

asio::awaitable<void> Pause(asio::any_io_executor executor, Duration time);

}  // namespace rerankd::serving
