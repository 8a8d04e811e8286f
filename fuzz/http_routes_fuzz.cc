// Any bytes as the body of any POST route, over the fake engine: every request gets exactly one reply, with a
// status of the contract and a body that is JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "serving/http/routes.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

constexpr int kStatuses[] = {200, 400, 404, 413, 422, 424};

struct Harness {
  FakeEngine engine;
  ScoreService service{{}, engine, SteadyClock::Get()};
  Router router = MakeRoutes(service);
  std::vector<const Route*> posts;

  Harness() {
    for (const Route& route : router.routes())
      if (route.method == "POST") posts.push_back(&route);
  }
};

HttpReply Answer(const Route& route, HttpRequest& request) {
  std::promise<ReplyMaker> promise;
  route.handler(request, [&promise](ReplyMaker make) { promise.set_value(std::move(make)); });
  return promise.get_future().get()();
}

bool Known(int status) {
  for (const int known : kStatuses)
    if (status == known) return true;
  return false;
}

// The first byte chooses the route, the second how much of the body is said to be JSON (tensors).
void Run(std::string_view input) {
  static Harness harness;
  if (input.size() < 2) return;
  HttpRequest request;
  request.method = "POST";
  request.path_parts = {"fake-model", "1"};
  request.body = std::string(input.substr(2));
  const auto json_bytes = static_cast<unsigned char>(input[1]);
  if (json_bytes > 0)
    request.headers.emplace_back("inference-header-content-length", std::to_string(json_bytes * 4));
  const size_t choice = static_cast<unsigned char>(input[0]) % harness.posts.size();
  const HttpReply reply = Answer(*harness.posts[choice], request);
  if (!Known(reply.status)) std::abort();
  if (reply.content_type == "application/json" && !nlohmann::json::accept(reply.body)) std::abort();
}

}  // namespace
}  // namespace rerankd::serving

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  rerankd::serving::Run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
