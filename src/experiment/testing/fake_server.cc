// A server for tests of the runner: speaks the wire of `rerankd serve` and scores nothing. Its behaviour is
// scripted by the environment:
//   FAKE_START=fail         ends at once, as a server that this machine cannot run
//   FAKE_START=backend      the same where the configuration says backend mps
//   FAKE_START=silent       never becomes ready
//   FAKE_DIE_AFTER=N        ends without a word in request N (from 0; the resets do not matter)
//   FAKE_FAULT=count|nan|error  what is wrong with the answers to requests of 3 pairs
//   FAKE_METRICS=FILE       body of /metrics.json
//   FAKE_RANKING=fail       refuses to rank
// It ranks by the length of a document, rounded down to even numbers unless its configuration says fp32.
#include <fmt/format.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "inference.grpc.pb.h"
#include "open_inference.grpc.pb.h"

namespace {

std::string Script(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class FakeService final : public inference::InferenceService::Service {
 public:
  grpc::Status Infer(grpc::ServerContext* context, const inference::InferRequest* request,
                     inference::InferResponse* response) override {
    const std::string die = Script("FAKE_DIE_AFTER");
    if (!die.empty() && requests_.fetch_add(1) >= std::stoi(die)) _exit(3);
    std::this_thread::sleep_for(std::chrono::milliseconds(request->pairs_size()));
    const std::string fault = request->pairs_size() == 3 ? Script("FAKE_FAULT") : "";
    if (fault == "error") return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
    const int count = request->pairs_size() - (fault == "count" ? 1 : 0);
    for (int i = 0; i < count; ++i)
      response->add_scores(fault == "nan" ? NAN : static_cast<float>(request->pairs(i).document().size()));
    response->set_status_code(200);
    context->AddTrailingMetadata("server-timing", "queue;dur=2.125, inference;dur=7");
    return grpc::Status::OK;
  }

 private:
  std::atomic<int> requests_{0};
};

class FakeRanking final : public inference::GRPCInferenceService::Service {
 public:
  explicit FakeRanking(bool exact) : exact_(exact) {}
  grpc::Status ModelInfer(grpc::ServerContext*, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    if (Script("FAKE_RANKING") == "fail") return {grpc::StatusCode::INTERNAL, "no ranking"};
    auto* scores = response->add_outputs()->mutable_contents();
    for (const std::string& text : request->inputs(1).contents().bytes_contents())
      scores->add_fp32_contents(static_cast<float>(exact_ ? text.size() : text.size() / 2 * 2));
    return grpc::Status::OK;
  }

 private:
  const bool exact_;
};

// Whether the configuration has this line.
bool Says(int argc, char** argv, const std::string& line) {
  if (argc < 4) return false;
  std::stringstream text;
  text << std::ifstream(argv[3]).rdbuf();
  return text.str().find(line) != std::string::npos;
}

constexpr const char* kInfo =
    R"({"rerankd": {"instances": [{"name": "fake-0", "backend": "fake", "device": "cpu", "precision": "int8",
        "details": "scripted", "workers": 2}]}})";

int Listen(int* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 8) != 0) return -1;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  *port = ntohs(address.sin_port);
  return fd;
}

void ServeHttp(int listener) {
  std::stringstream metrics;
  metrics << std::ifstream(Script("FAKE_METRICS")).rdbuf();
  while (true) {
    const int client = accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    char buffer[2048];
    const ssize_t size = read(client, buffer, sizeof(buffer));
    const std::string request(buffer, size > 0 ? static_cast<size_t>(size) : 0);
    std::string body = "{\"status\": \"reset\"}";
    if (request.starts_with("GET /metrics.json ")) body = metrics.str();
    if (request.starts_with("GET /info ")) body = kInfo;
    const std::string reply = fmt::format(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body.size(), body);
    [[maybe_unused]] const ssize_t written = write(client, reply.data(), reply.size());
    close(client);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool not_here = Script("FAKE_START") == "backend" && Says(argc, argv, "backend: \"mps\"");
  if (Script("FAKE_START") == "fail" || not_here) {
    fmt::print(stderr, "rerankd: FAILED_PRECONDITION: backend 'mps' is not here\n");
    return 1;
  }
  if (Script("FAKE_START") == "silent") pause();
  // Blocked before any thread starts, so that the signal waits for sigwait below.
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminate, nullptr);
  FakeService service;
  FakeRanking ranking(Says(argc, argv, "precision: \"fp32\""));
  int grpc_port = 0, http_port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &grpc_port);
  builder.RegisterService(&service);
  builder.RegisterService(&ranking);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const int listener = Listen(&http_port);
  std::thread(ServeHttp, listener).detach();
  fmt::print(stderr, "loading\nrerankd ready grpc=127.0.0.1:{} http=0.0.0.0:{} model=m backend=fake\n",
             grpc_port, http_port);
  int signal = 0;
  sigwait(&terminate, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  _exit(0);
}
