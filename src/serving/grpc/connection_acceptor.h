// Accepts the connections of a gRPC server. The library's own listener (1.51) has no limit of their number
// and ends for good when the system has no descriptor for one; this one waits in both cases.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/status.h"
#include "serving/sockets.h"

namespace rerankd::serving {

// How many of the sockets handed to the library are still open. It owns and closes them without telling: the
// descriptor of a closed one is invalid or another file's, which shows as another inode.
class HandedSockets {
 public:
  void Add(int socket);
  size_t CountOpen();  // looks at each: a microsecond a socket
  size_t at_most() const { return inodes_.size(); }

 private:
  std::unordered_map<int, ino_t> inodes_;
};

class ConnectionAcceptor {
 public:
  // Listens at once and accepts after Start(). kUnavailable names the address that cannot be had.
  static Result<std::unique_ptr<ConnectionAcceptor>> Listen(const std::string& host, int port,
                                                            const std::string& setting);
  ~ConnectionAcceptor();  // Stop()

  int port() const { return port_; }

  // On a thread of its own. While `limit` connections are open, further ones wait in the system's backlog.
  void Start(int limit, std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server);
  // Listens no more; connections that exist go on.
  void Stop();

 private:
  asio::awaitable<void> Accept(asio::ip::tcp::acceptor& acceptor);

  asio::io_context io_{1};
  std::list<asio::ip::tcp::acceptor> acceptors_;  // one for each address of the host
  int port_ = 0;
  size_t limit_ = 0;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server_;
  HandedSockets handed_;
  std::thread thread_;
};

}  // namespace rerankd::serving
