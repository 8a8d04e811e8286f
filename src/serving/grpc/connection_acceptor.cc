#include "serving/grpc/connection_acceptor.h"

#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <utility>

#include "base/cpu.h"

namespace rerankd::serving {
namespace {

using asio::ip::tcp;

constexpr auto kNoRoom = std::chrono::milliseconds(20);  // until open connections are counted again

ino_t InodeOf(int file) {  // 0: closed
  struct stat info {};
  return ::fstat(file, &info) == 0 ? info.st_ino : 0;
}

}  // namespace

void HandedSockets::Add(int socket) { inodes_[socket] = InodeOf(socket); }

size_t HandedSockets::CountOpen() {
  std::erase_if(inodes_, [](const auto& known) { return InodeOf(known.first) != known.second; });
  return inodes_.size();
}

Result<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(const std::string& host, int port,
                                                                       const std::string& setting) {
  auto acceptor = std::make_unique<ConnectionAcceptor>();
  RERANKD_ASSIGN_OR_RETURN(acceptor->acceptors_,
                           serving::Listen(acceptor->io_.get_executor(), host, port, setting));
  acceptor->port_ = acceptor->acceptors_.front().local_endpoint().port();
  return acceptor;
}

ConnectionAcceptor::~ConnectionAcceptor() { Stop(); }

void ConnectionAcceptor::Start(int limit,
                               std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server) {
  limit_ = static_cast<size_t>(limit);
  server_ = std::move(server);
  for (tcp::acceptor& acceptor : acceptors_) asio::co_spawn(io_, Accept(acceptor), asio::detached);
  thread_ = std::thread([this] {
    SetThreadName("grpc-accept");
    io_.run();
  });
}

asio::awaitable<void> ConnectionAcceptor::Accept(tcp::acceptor& acceptor) {
  for (;;) {
    auto [error] = co_await acceptor.async_wait(tcp::acceptor::wait_read, kToken);
    if (error) co_return;
    if (handed_.at_most() >= limit_ && handed_.CountOpen() >= limit_) {
      co_await Pause(io_.get_executor(), kNoRoom);
      continue;
    }
    auto [ec, socket] = co_await acceptor.async_accept(kToken);
    if (ec) {
      co_await Pause(io_.get_executor(), kNoDescriptor);
      continue;
    }
    error_code released;
    socket.native_non_blocking(true, released);
    SetTcpOptions(socket.native_handle());
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = acceptor.native_handle();
    connection.fd = socket.release(released);
    if (released) continue;
    handed_.Add(connection.fd);
    server_->HandleNewConnection(&connection);
  }
}

void ConnectionAcceptor::Stop() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
  error_code ignored;
  for (tcp::acceptor& acceptor : acceptors_) acceptor.close(ignored);
}

}  // namespace rerankd::serving
