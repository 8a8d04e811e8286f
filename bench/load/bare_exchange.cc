// What the kernel alone takes for the requests of `rerankd load`: one thread that sleeps until the next one
// is due, sends it on a loopback connection and reads the reply, of which it looks at nothing but the status.
//   bare_exchange PORT RATE REQUESTS < REQUEST
// prints the CPU of one request as JSON: {"user_us": …, "system_us": …}.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <iterator>
#include <string>

namespace {

double Us(const timeval& t) { return 1e6 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec); }

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? fd : -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int fd = Connect(std::atoi(argv[1]));
  const double gap_ns = 1e9 / std::atof(argv[2]);
  const int requests = std::atoi(argv[3]);
  const std::string request{std::istreambuf_iterator<char>(std::cin), {}};
  prctl(PR_SET_TIMERSLACK, 1);
  timespec start{};
  clock_gettime(CLOCK_MONOTONIC, &start);
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int i = 0; i < requests; ++i) {
    const auto ns = start.tv_nsec + static_cast<int64_t>(gap_ns * i);
    const timespec due{start.tv_sec + ns / 1'000'000'000, ns % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr);
    char reply[65536];
    if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0 ||
        recv(fd, reply, sizeof(reply), 0) < 12 || std::memcmp(reply, "HTTP/1.1 200", 12) != 0)
      return std::fprintf(stderr, "no reply with status 200\n"), 1;
  }
  getrusage(RUSAGE_SELF, &after);
  std::printf("{\"user_us\": %.3f, \"system_us\": %.3f}\n",
              (Us(after.ru_utime) - Us(before.ru_utime)) / requests,
              (Us(after.ru_stime) - Us(before.ru_stime)) / requests);
}
