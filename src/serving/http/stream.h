// The bytes of one connection: a TCP or Unix socket, plain or under TLS, behind one type that Beast and Asio
// read and write. One strand at a time.
#pragma once

#include <poll.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <utility>

#include "serving/sockets.h"

namespace rerankd::serving {

class Stream {
 public:
  using Socket = asio::generic::stream_protocol::socket;
  using executor_type = asio::any_io_executor;

  // `tls` null: plain.
  Stream(Socket socket, std::shared_ptr<asio::ssl::context> tls)
      : socket_(std::move(socket)), context_(std::move(tls)) {
    if (context_) tls_.emplace(socket_, *context_);
  }

  executor_type get_executor() { return socket_.get_executor(); }
  Socket& socket() { return socket_; }
  bool encrypted() const { return tls_.has_value(); }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return tls_ ? tls_->async_read_some(buffers, std::forward<Token>(token))
                : socket_.async_read_some(buffers, std::forward<Token>(token));
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return tls_ ? tls_->async_write_some(buffers, std::forward<Token>(token))
                : socket_.async_write_some(buffers, std::forward<Token>(token));
  }

  asio::awaitable<error_code> Handshake() {
    if (!tls_) co_return error_code();
    auto [ec] = co_await tls_->async_handshake(asio::ssl::stream_base::server, kToken);
    co_return ec;
  }

  // Tells the peer that nothing more comes.
  asio::awaitable<void> EndOutput() {
    if (tls_) co_await tls_->async_shutdown(kToken);
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

  void Cancel() {
    error_code ignored;
    socket_.cancel(ignored);
  }

  // Whether the peer has closed its side, even if bytes that it sent before are still unread.
  bool PeerClosed() {
    pollfd poll = {socket_.native_handle(), POLLRDHUP, 0};
    return ::poll(&poll, 1, 0) > 0;
  }

 private:
  Socket socket_;
  const std::shared_ptr<asio::ssl::context> context_;
  std::optional<asio::ssl::stream<Socket&>> tls_;
};

}  // namespace rerankd::serving
