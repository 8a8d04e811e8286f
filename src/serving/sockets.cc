#include "serving/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>
#include <set>
#include <utility>

#include "base/file.h"

namespace rerankd::serving {
namespace {

using asio::ip::tcp;

constexpr auto kNoSuchAddress = boost::system::errc::address_not_available;

// An IPv6 address that is not alone leaves the IPv4 ones to their own sockets. Throws system_error.
tcp::acceptor ListenOn(const asio::any_io_executor& executor, const tcp::endpoint& endpoint, bool alone) {
  tcp::acceptor acceptor(executor, endpoint.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  if (endpoint.address().is_v6() && !alone) acceptor.set_option(asio::ip::v6_only(true));
  acceptor.bind(endpoint);
  acceptor.listen();
  return acceptor;
}

std::list<tcp::acceptor> ListenOnAll(const asio::any_io_executor& executor, const std::string& host,
                                     int port) {
  std::list<tcp::acceptor> acceptors;
  error_code missing;
  std::set<tcp::endpoint> endpoints;  // names may give an address twice
  for (const auto& found :
       tcp::resolver(executor).resolve(host, std::to_string(port), tcp::resolver::passive))
    endpoints.insert(found.endpoint());
  for (tcp::endpoint endpoint : endpoints) {
    try {
      endpoint.port(static_cast<uint16_t>(port));
      acceptors.push_back(ListenOn(executor, endpoint, /*alone=*/endpoints.size() == 1));
      port = acceptors.back().local_endpoint().port();
    } catch (const boost::system::system_error& e) {
      if (e.code() != asio::error::address_family_not_supported && e.code() != kNoSuchAddress) throw;
      missing = e.code();
    }
  }
  if (acceptors.empty()) throw boost::system::system_error(missing);
  return acceptors;
}

}  // namespace

std::string JoinHostPort(const std::string& host, int port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<std::list<tcp::acceptor>> Listen(const asio::any_io_executor& executor, const std::string& host,
                                        int port, const std::string& setting) {
  try {
    return ListenOnAll(executor, host, port);
  } catch (const boost::system::system_error& e) {
    return Unavailable("cannot listen on " + JoinHostPort(host, port) + ": " + e.code().message() +
                       "; choose another address with server.host and " + setting + " (0 = any free port)");
  }
}

void SetTcpOptions(int socket) {
  constexpr int kSilentSeconds = 30, kProbeSeconds = 10, kProbes = 3;  // the system's first probe: after 2 h
  const auto set = [socket](int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kSilentSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

int ConnectionLimit(const ServerSettings& settings) {
  const int64_t files = std::max<int64_t>(OpenFileLimit() / 8 * 3, 1);
  return static_cast<int>(std::min<int64_t>(settings.max_connections, files));
}

asio::awaitable<void> Pause(asio::any_io_executor executor, Duration time) {
  asio::steady_timer timer(executor, time);
  co_await timer.async_wait(kToken);
}

}  // namespace rerankd::serving
