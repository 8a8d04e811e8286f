#include "serving/address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace rerankd::serving {
namespace {

std::string TryBind(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = ::bind(fd, address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd, 1) == 0;
  std::string error = bound ? "" : std::strerror(errno);
  ::close(fd);
  return error;
}

}  // namespace

std::string JoinHostPort(const std::string& host, int port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Status CannotListen(const std::string& host, int port, const std::string& reason,
                    const std::string& setting) {
  return Unavailable("cannot listen on " + JoinHostPort(host, port) + ": " +
                     (reason.empty() ? "refused by the system" : reason) +
                     "; choose another address with server.host and " + setting + " (0 = any free port)");
}

std::string BindFailure(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) return ::gai_strerror(error);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::string failure;
  for (const addrinfo* address = found; address != nullptr && failure.empty(); address = address->ai_next)
    failure = TryBind(*address);
  return failure;
}

}  // namespace rerankd::serving
