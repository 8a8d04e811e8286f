// Any request line, header and body, past routing, keys and cross-origin rules to the handlers, over the fake
// engine: every request gets exactly one reply with a status of the contract, and nobody without a key is
// scored where keys are needed. The input: "METHOD /path", header lines "name: value", an empty line, the
// body.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "serving/http/guard.h"
#include "serving/http/routes.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

constexpr std::array kStatuses = {200, 204, 400, 401, 403, 404, 405, 413, 415, 417, 422, 424};

void Require(bool holds) {
  if (!holds) std::abort();
}

// With one key, which no input knows.
std::unique_ptr<Security> WithKeys() {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("rerankd-fuzz-keys-" + std::to_string(::getpid()));
  std::ofstream(path) << MakeApiKey({"somebody"})->line << "\n";
  ServerSettings settings;
  settings.api_key_file = path;
  Result<std::unique_ptr<Security>> security = Security::Load(settings);
  std::filesystem::remove(path);
  return std::move(*security);
}

struct Harness {
  FakeEngine engine;
  ScoreService service{{}, engine, SteadyClock::Get()};
  Router router = MakeRoutes(service);
  std::unique_ptr<Security> security = WithKeys();
  Guard open{nullptr, {"https://a.example"}}, keyed{security.get(), {"*"}};
};

std::string_view TakeLine(std::string_view* text) {
  const size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return line;
}

HttpRequest Parse(std::string_view input) {
  HttpRequest request;
  const std::string_view first = TakeLine(&input);
  const size_t space = first.find(' ');
  request.method = std::string(first.substr(0, space));
  request.path = space == std::string_view::npos ? "" : std::string(first.substr(space + 1));
  for (std::string_view line = TakeLine(&input); !line.empty(); line = TakeLine(&input)) {
    const size_t colon = line.find(": ");
    if (colon != std::string_view::npos)
      request.headers.emplace_back(ToLower(line.substr(0, colon)), std::string(line.substr(colon + 2)));
  }
  request.body = std::string(input);
  return request;
}

void CheckReply(const HttpReply& reply) {
  Require(std::find(kStatuses.begin(), kStatuses.end(), reply.status) != kStatuses.end());
  if (reply.content_type == "application/json" && !reply.body.empty())
    Require(nlohmann::json::accept(reply.body));
}

HttpReply Answer(const Route& route, HttpRequest& request) {
  std::promise<ReplyMaker> promise;
  route.handler(request, [&promise](ReplyMaker make) { promise.set_value(std::move(make)); });
  return promise.get_future().get()();
}

void Run(std::string_view input) {
  static Harness harness;
  HttpRequest request = Parse(input);
  Router::Match match = harness.router.Find(request.method, request.path);
  HttpRequest stranger = request;
  const std::optional<HttpReply> refused = harness.keyed.Check(harness.router, match, &stranger);
  Require(refused || match.route->access == Access::kOpen);
  if (refused) CheckReply(*refused);

  std::optional<HttpReply> reply = harness.open.Check(harness.router, match, &request);
  if (!reply) {
    request.path_parts = std::move(match.parts);
    reply = Answer(*match.route, request);
  }
  harness.open.AddCors(request, &*reply);
  CheckReply(*reply);
}

}  // namespace
}  // namespace rerankd::serving

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  rerankd::serving::Run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
