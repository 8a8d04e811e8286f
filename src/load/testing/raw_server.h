// A listener on loopback that answers every HTTP request with scripted bytes, well-formed or not.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rerankd::load {

struct RawReply {
  std::string bytes;
  bool close = false;       // the connection, after the bytes
  int delay_ms = 0;         // before the bytes
  size_t piece = SIZE_MAX;  // so many bytes in each segment, a little apart
};

class RawServer {
 public:
  // `script` gets the number of the request, from 0, and its bytes. Called from one thread a connection.
  using Script = std::function<RawReply(int number, const std::string& request)>;

  explicit RawServer(Script script) : script_(std::move(script)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int small = 64 << 10;  // so that large requests have to wait for room
    setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 64);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }

  ~RawServer() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : open_) close(fd);
  }

  int port() const { return port_; }
  int connections() const { return connections_.load(); }
  int requests() const { return requests_.load(); }

 private:
  void Accept() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connections_.fetch_add(1);
      const int yes = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { Serve(fd); });
    }
  }

  // Descriptors are closed at the end only, so that none is closed twice.
  void Serve(int fd) {
    std::string request;
    while (ReadRequest(fd, &request)) {
      const RawReply reply = script_(requests_.fetch_add(1), request);
      std::this_thread::sleep_for(std::chrono::milliseconds(reply.delay_ms));
      if (!Send(fd, reply)) return;
      if (!reply.close) continue;
      shutdown(fd, SHUT_RDWR);
      return;
    }
  }

  static bool Send(int fd, const RawReply& reply) {
    for (size_t at = 0; at < reply.bytes.size(); at += std::min(reply.piece, reply.bytes.size() - at)) {
      if (at > 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
      const size_t size = std::min(reply.piece, reply.bytes.size() - at);
      if (send(fd, reply.bytes.data() + at, size, MSG_NOSIGNAL) < 0) return false;
    }
    return true;
  }

  static bool ReadRequest(int fd, std::string* request) {
    request->clear();
    char buffer[4096];
    size_t whole = std::string::npos;
    while (request->size() < whole) {
      const ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
      if (size <= 0) return false;
      request->append(buffer, static_cast<size_t>(size));
      const size_t end = whole == std::string::npos ? request->find("\r\n\r\n") : std::string::npos;
      const size_t length = request->find("Content-Length: ");
      if (end != std::string::npos) whole = end + 4 + std::stoul(request->substr(length + 16, 12));
    }
    return true;
  }

  const Script script_;
  int listener_ = -1, port_ = 0;
  std::atomic<int> connections_{0}, requests_{0};
  std::thread acceptor_;
  std::mutex mutex_;  // guards the rest
  std::vector<int> open_;
  std::vector<std::thread> threads_;
};

// A 200 reply with `body`.
inline std::string Http(const std::string& body, const std::string& status = "200 OK",
                        const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "\r\n" + body;
}

}  // namespace rerankd::load
