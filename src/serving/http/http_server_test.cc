// The HTTP server and its routes over real sockets on loopback.
#include "serving/http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "core/scoring.h"
#include "serving/http/rerank.h"
#include "serving/http/routes.h"
#include "serving/server.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Reply {
  int status = 0;
  std::string head;  // status line and header fields, lower case
  std::string body;
  bool Has(const std::string& field) const { return head.find("\r\n" + field) != std::string::npos; }
  json Json() const { return json::parse(body); }
};

// A client that sends exactly the bytes that it is told to.
class Client {
 public:
  explicit Client(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Client() { Close(); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  void Send(const std::string& bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // The next reply; status 0 once the connection is closed.
  Reply Read(bool head_only = false) {
    Reply reply;
    size_t end = 0;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos)
      if (!More()) return reply;
    reply.head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    for (char& c : reply.head) c = static_cast<char>(std::tolower(c));
    reply.status = std::stoi(reply.head.substr(9, 3));
    const size_t length = reply.head.find("content-length: ");
    const size_t size =
        length == std::string::npos || head_only ? 0 : std::stoul(reply.head.substr(length + 16));
    while (input_.size() < size && More()) {
    }
    reply.body = input_.substr(0, size);
    input_.erase(0, size);
    return reply;
  }
  bool AtEnd() { return input_.empty() && !More(); }

  Reply Get(const std::string& path, const std::string& fields = "") {
    Send("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n");
    return Read();
  }
  Reply Post(const std::string& path, const std::string& body, const std::string& fields = "") {
    Send(PostBytes(path, body, fields));
    return Read();
  }
  static std::string PostBytes(const std::string& path, const std::string& body,
                               const std::string& fields = "") {
    return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + fields +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  bool More() {
    char bytes[65536];
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (n > 0) input_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }
  int fd_;
  std::string input_;
};

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() : service_(SmallLimits(), engine_, SteadyClock::Get()) { Start({}); }
  ~HttpServerTest() override {
    service_.Drain();
    server_->Shutdown(std::chrono::seconds(5));
  }

  static Settings SmallLimits() {
    Settings settings;
    settings.server.max_documents = 100;
    return settings;
  }
  void Start(HttpOptions options) {
    options.limits.body_bytes = 10'000;
    server_ = std::move(*HttpServer::Start(Anywhere(), options, MakeRoutes(service_)));
  }
  static HttpListen Anywhere(int port = 0) { return {"127.0.0.1", port, "server.http_port", ""}; }
  Client Connect() { return Client(server_->address()); }
  Reply Get(const std::string& path, const std::string& fields = "") { return Connect().Get(path, fields); }
  Reply Post(const std::string& path, const std::string& body, const std::string& fields = "") {
    return Connect().Post(path, body, fields);
  }

  FakeEngine engine_;
  ScoreService service_;
  std::unique_ptr<HttpServer> server_;
};

float Rounded(double score) { return static_cast<float>(score); }

// --- The core.

TEST_F(HttpServerTest, KeepsTheConnectionAndAnswersPipelinedRequestsInOrder) {
  Client client = Connect();
  client.Send(Client::PostBytes("/rerank", R"({"query":"q","texts":["abc"]})") +
              "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.Read().Json()[0]["index"], 0);
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_EQ(client.Read().Json()["ready"], true);
}

TEST_F(HttpServerTest, ClosesWhenAskedTo) {
  Client client = Connect();
  EXPECT_EQ(client.Get("/health", "Connection: close\r\n").status, 200);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, ReadsChunkedBodies) {
  Client client = Connect();
  client.Send(
      "POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "f\r\n{\"query\":\"q\",\"t\r\ne\r\nexts\":[\"abc\"]}\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(HttpServerTest, AsksForTheBodyThatWaitsFor100Continue) {
  Client client = Connect();
  const std::string body = R"({"query":"q","texts":["abc"]})";
  client.Send("POST /rerank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send(body);
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(HttpServerTest, RefusesABodyOverTheLimitUnread) {
  Client client = Connect();
  client.Send("POST /rerank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10001\r\n\r\n");
  const Reply reply = client.Read();
  EXPECT_EQ(reply.status, 413);
  EXPECT_THAT(reply.Json()["error"], HasSubstr("10000 bytes (server.max_body_bytes)"));
}

TEST_F(HttpServerTest, RefusesHeadersOverTheLimit) {
  EXPECT_EQ(Get("/health", "X-Long: " + std::string(20'000, 'x') + "\r\n").status, 431);
}

TEST_F(HttpServerTest, AnswersRubbishWith400) {
  Client client = Connect();
  client.Send("this is not HTTP\r\n\r\n");
  EXPECT_EQ(client.Read().status, 400);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, RefusesTransferCodingsWhoseEndNobodyKnows) {
  for (const char* coding : {"xchunked", "gzip, chunked", "chunked, identity", "identity", ""}) {
    Client client = Connect();
    client.Send("POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + std::string(coding) +
                "\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(client.Read().status, 400) << coding;
    EXPECT_TRUE(client.AtEnd()) << coding;
  }
  Client old = Connect();
  old.Send("POST /rerank HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  EXPECT_EQ(old.Read().status, 400);
  Client good = Connect();
  good.Send("POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
  EXPECT_EQ(good.Read().status, 422);
}

TEST_F(HttpServerTest, BoundsWhatAChunkMayCarryBesideItsBytes) {
  const std::string head = "POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string endless(200'000, '0');
  for (const std::string& start : {"1;" + endless, endless, "1\r\n{\r\n0\r\nX: " + endless}) {
    Client client = Connect();
    client.Send(head + start);
    EXPECT_EQ(client.Read().status, 400);
  }
}

TEST_F(HttpServerTest, TakesTheAbsoluteFormOfATarget) {
  for (const char* target : {"http://x/ready", "http://x:80/ready?y=http://z/", "HTTPS://x/ready"})
    EXPECT_EQ(Get(target).status, 200) << target;
  EXPECT_EQ(Get("http://x").status, 200);  // "/"
  EXPECT_EQ(Get("/http://x/ready").status, 404);
}

TEST_F(HttpServerTest, AMessageThatQuotesARequestIsCut) {
  const Reply reply =
      Post("/v1/rerank", R"({"query":"q","documents":["a"],"overflow":")" + std::string(9000, 'x') + "\"}");
  EXPECT_EQ(reply.status, 422);
  EXPECT_LT(reply.body.size(), 4000u);
  EXPECT_THAT(reply.body, HasSubstr("overflow 'xxx"));
}

TEST_F(HttpServerTest, NamesTheMethodsThatAPathHas) {
  const Reply reply = Get("/rerank");
  EXPECT_EQ(reply.status, 405);
  EXPECT_TRUE(reply.Has("allow: post"));
  EXPECT_TRUE(reply.Json().contains("error_type"));
  EXPECT_TRUE(Get("/v2/rerank").Json().contains("message"));  // as Cohere's clients read it
}

TEST_F(HttpServerTest, RefusesEncodingsThatItDoesNotKnow) {
  EXPECT_EQ(Post("/rerank", "x", "Content-Encoding: br\r\n").status, 415);
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  Client client = Connect();
  client.Send("HEAD /info HTTP/1.1\r\nHost: x\r\n\r\n");
  const Reply head = client.Read(/*head_only=*/true);
  EXPECT_EQ(head.status, 200);
  EXPECT_FALSE(head.Has("content-length: 0"));
  EXPECT_EQ(client.Get("/ready").status, 200);  // the connection is in step
}

// Handled on the pool: with one I/O thread, another client is answered meanwhile.
TEST_F(HttpServerTest, ABigBodyAtWorkBlocksNoOtherConnection) {
  std::promise<void> other_answered;
  Router router(TeiDialect().error);
  router.Add({"POST", "/big",
              [&](HttpRequest&, const Respond& respond) {
                const auto waited = other_answered.get_future().wait_for(std::chrono::seconds(20));
                HttpReply reply;
                reply.status = waited == std::future_status::ready ? 200 : 500;
                RespondWith(respond, std::move(reply));
              },
              TeiDialect().error, Access::kOpen});
  router.Add({"GET", "/small",
              [](HttpRequest&, const Respond& respond) { RespondWith(respond, HttpReply()); },
              TeiDialect().error, Access::kOpen});
  HttpOptions options;
  options.limits.threads = 1;
  const auto server = std::move(*HttpServer::Start(Anywhere(), options, std::move(router)));
  Client big(server->address());
  big.Send(Client::PostBytes("/big", std::string(1 << 20, 'x')));
  EXPECT_EQ(Client(server->address()).Get("/small").status, 200);
  other_answered.set_value();
  EXPECT_EQ(big.Read().status, 200);
}

TEST_F(HttpServerTest, ARequestThatDoesNotArriveIsTimedOutAndAnIdleConnectionClosed) {
  HttpOptions options;
  options.limits.idle = options.limits.header = options.limits.body = std::chrono::milliseconds(100);
  Start(options);
  Client slow_header = Connect(), slow_body = Connect(), idle = Connect();
  slow_header.Send("GET / HT");
  slow_body.Send("POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{");
  EXPECT_EQ(slow_header.Read().status, 408);
  EXPECT_EQ(slow_body.Read().status, 408);
  EXPECT_TRUE(idle.AtEnd());
}

TEST_F(HttpServerTest, ConnectionsOverTheLimitTakeThePlaceOfTheLongestIdleOne) {
  HttpOptions options;
  options.limits.connections = 2;
  Start(options);
  engine_.Hold();
  Client busy = Connect(), idle = Connect();
  busy.Send(Client::PostBytes("/rerank", R"({"query":"q","texts":["abc"]})"));
  while (engine_.admitted() == 0) std::this_thread::yield();
  Client late = Connect();
  late.Send("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(late.Read().status, 200);
  EXPECT_TRUE(idle.AtEnd());
  engine_.Release();
  EXPECT_EQ(busy.Read().status, 200);
}

TEST_F(HttpServerTest, WorkOfAClientThatLeftIsCancelled) {
  engine_.Hold();
  Client client = Connect();
  client.Send(Client::PostBytes("/rerank", R"({"query":"q","texts":["abc"]})"));
  while (engine_.admitted() == 0) std::this_thread::yield();
  client.Close();
  while (engine_.cancelled() == 0) std::this_thread::yield();
  EXPECT_EQ(engine_.cancelled(), 1);
}

TEST_F(HttpServerTest, ShutdownAnswersWhatRunsAndClosesIdleConnections) {
  engine_.Hold();
  Client busy = Connect(), idle = Connect();
  EXPECT_EQ(idle.Get("/ready").status, 200);
  busy.Send(Client::PostBytes("/rerank", R"({"query":"q","texts":["abc"]})"));
  while (engine_.admitted() == 0) std::this_thread::yield();
  auto drained = std::async(std::launch::async, [this] {
    service_.Drain();
    server_->Shutdown(std::chrono::seconds(5));
  });
  EXPECT_EQ(busy.Read().status, 200);
  EXPECT_TRUE(busy.AtEnd());
  EXPECT_TRUE(idle.AtEnd());
  drained.get();
}

TEST_F(HttpServerTest, PortInUseIsAnErrorThatNamesTheAddress) {
  const int port = std::stoi(server_->address().substr(server_->address().find(':') + 1));
  const auto second = HttpServer::Start(Anywhere(port), {}, MakeRoutes(service_));
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr("cannot listen on " + server_->address()));
  EXPECT_THAT(second.status().message(), HasSubstr("in use"));
}

// --- Dialects.

TEST_F(HttpServerTest, TeiGivesABareArrayBestFirst) {
  const Reply reply = Post("/rerank", R"({"query":"q","texts":["abc","abcdefgh","abc"],"return_text":true})");
  ASSERT_EQ(reply.status, 200);
  const json body = reply.Json();
  ASSERT_EQ(body.size(), 3u);
  EXPECT_EQ(body[0]["index"], 1);
  EXPECT_EQ(body[0]["text"], "abcdefgh");
  EXPECT_EQ(Rounded(body[0]["score"]), Sigmoid(0.8f));
  EXPECT_EQ(body[1]["index"], 0);  // ties keep input order
  EXPECT_EQ(body[2]["index"], 2);
  EXPECT_TRUE(reply.Has("x-queue-time: 1\r"));
  EXPECT_TRUE(reply.Has("x-tokenization-time: 2\r"));
  EXPECT_TRUE(reply.Has("x-inference-time: 4\r"));
  EXPECT_TRUE(reply.Has("x-total-time: "));
  EXPECT_TRUE(reply.Has("x-compute-tokens: 23\r"));
  EXPECT_TRUE(reply.Has("x-truncated-documents: 0\r"));
}

TEST_F(HttpServerTest, TeiRawScoresAreLogitsInTheirShortestForm) {
  EXPECT_EQ(Post("/", R"({"query":"q","texts":["abc"],"raw_scores":true})").body,
            R"([{"index":0,"score":0.3}])");
}

TEST_F(HttpServerTest, TeiTruncationReachesTheEngine) {
  Post("/rerank", R"({"query":"q","texts":["a"],"truncate":false,"truncation_direction":"Left"})");
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kError);
  EXPECT_TRUE(engine_.last_request().pair_options.truncate_left);
  Post("/rerank", R"({"query":"q","texts":["a"],"truncate":null})");
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kLongestFirst);
}

TEST_F(HttpServerTest, TeiErrorsAreTyped) {
  Reply reply = Post("/rerank", R"({"query":"q","texts":[]})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.Json(), json({{"error", "`texts` cannot be empty"}, {"error_type", "Empty"}}));
  reply = Post("/rerank", R"({"query":"","texts":["a",""]})");
  EXPECT_EQ(reply.Json()["error_type"], "Empty");
  reply = Post("/rerank", R"({"query":"q","texts":["a",7]})");
  EXPECT_EQ(reply.status, 422);
  EXPECT_THAT(reply.Json()["error"], HasSubstr("`texts[1]` must be a string, not number"));
  reply = Post("/rerank", R"({"query":"q"})");
  EXPECT_EQ(reply.status, 422);
  EXPECT_THAT(reply.Json()["error"], HasSubstr("exactly one of `texts` (TEI), `documents`"));
  reply = Post("/rerank", "{\"query\":\"q\",");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.Json()["error"], HasSubstr("not valid JSON"));
}

TEST_F(HttpServerTest, OverloadIs429WithRetryAfter) {
  engine_.RefuseWith(ResourceExhausted("the queue is full").WithRetryAfter(2400));
  const Reply reply = Post("/rerank", R"({"query":"q","texts":["a"]})");
  EXPECT_EQ(reply.status, 429);
  EXPECT_TRUE(reply.Has("retry-after: 3\r"));
  EXPECT_EQ(reply.Json()["error_type"], "Overloaded");
}

TEST_F(HttpServerTest, BackendFailureIs424AndTheNextRequestWorks) {
  engine_.FailWith(Internal("backend lost"));
  EXPECT_EQ(Post("/rerank", R"({"query":"q","texts":["a"]})").status, 424);
  engine_.FailWith(std::nullopt);
  EXPECT_EQ(Post("/rerank", R"({"query":"q","texts":["a"]})").status, 200);
}

TEST_F(HttpServerTest, InfinityGivesWhatItsClientRequires) {
  const json body =
      Post("/rerank", R"({"query":"q","documents":["a","abcd"],"top_n":1,"model":"foreign"})").Json();
  EXPECT_EQ(body["object"], "rerank");
  EXPECT_EQ(body["model"], "fake-model");
  EXPECT_EQ(body["usage"], json({{"prompt_tokens", 11}, {"total_tokens", 11}}));
  ASSERT_EQ(body["results"].size(), 1u);
  EXPECT_EQ(body["results"][0]["index"], 1);
  EXPECT_TRUE(body["results"][0]["document"].is_null());
  EXPECT_EQ(body["results"][0]["tokens"], 7);
  EXPECT_EQ(body["results"][0]["truncated"], false);
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kDocumentOnly);
  const json with = Post("/rerank", R"({"query":"q","documents":["a"],"return_documents":true})").Json();
  EXPECT_EQ(with["results"][0]["document"], "a");
}

TEST_F(HttpServerTest, V1ReturnsDocumentsToJinaAndNotToCohere) {
  const std::string body = R"({"query":"q","documents":["a",{"text":"abcd"}],"top_n":null})";
  const json jina = Post("/v1/rerank", body).Json();
  EXPECT_EQ(jina["results"][0]["document"], json({{"text", "abcd"}}));
  EXPECT_EQ(jina["meta"]["billed_units"]["search_units"], 1);
  const json sdk = Post("/v1/rerank", body, "X-Fern-Language: Python\r\n").Json();
  EXPECT_FALSE(sdk["results"][0].contains("document"));
  const json fields =
      Post("/v1/rerank", R"({"query":"q","documents":[{"a":"xy","b":"z"}],"rank_fields":["a","b"]})").Json();
  EXPECT_FALSE(fields["results"][0].contains("document"));
  EXPECT_EQ(engine_.last_request().documents[0].text, "xy\nz");
}

TEST_F(HttpServerTest, V2HasMetaAndNoDocuments) {
  const json body =
      Post("/v2/rerank", R"({"model":"m","query":"q","documents":["a"],"max_tokens_per_doc":64})").Json();
  EXPECT_FALSE(body["results"][0].contains("document"));
  EXPECT_EQ(body["meta"]["api_version"]["version"], "2");
  EXPECT_FALSE(body["meta"].contains("warnings"));
  EXPECT_EQ(engine_.last_request().overflow.max_tokens_per_doc, 64);
  EXPECT_EQ(body["id"].get<std::string>().size(), 36u);
}

TEST_F(HttpServerTest, DocumentErrorsHaveEverySpelling) {
  const Reply reply = Post("/v1/rerank", R"({"query":"q","documents":[1]})");
  EXPECT_EQ(reply.status, 422);
  const json body = reply.Json();
  EXPECT_THAT(body["message"], HasSubstr("`documents[0]`"));
  ASSERT_TRUE(body["detail"].is_array());
  EXPECT_THAT(body["detail"][0]["msg"], HasSubstr("`documents[0]`"));
  EXPECT_EQ(body["error"]["code"], 422);
  EXPECT_EQ(Post("/v2/rerank", R"({"query":"q","documents":["a"],"top_n":-1})").status, 422);
  EXPECT_EQ(Post("/v2/rerank", R"({"query":"q","documents":["a"],"top_n":1e99})").status, 422);
  EXPECT_EQ(Post("/v2/rerank", R"({"query":"q","documents":[]})").status, 422);
}

TEST_F(HttpServerTest, PredictTakesOnePairOrABatch) {
  EXPECT_EQ(Post("/predict", R"({"inputs":["q","abc"],"raw_scores":true})").body,
            R"([{"score":0.3,"label":"LABEL_0"}])");
  EXPECT_EQ(Post("/predict", R"({"inputs":[["q","abc"],["p","a"]],"raw_scores":true})").body,
            R"([[{"score":0.3,"label":"LABEL_0"}],[{"score":0.1,"label":"LABEL_0"}]])");
  EXPECT_EQ(Post("/predict", R"({"inputs":"single"})").status, 422);
  EXPECT_EQ(Post("/predict", R"({"inputs":["a","b","c"]})").status, 422);
}

TEST_F(HttpServerTest, TokenizeShowsTokensWithTheirText) {
  const json body = Post("/tokenize", R"({"inputs":"ab"})").Json();
  ASSERT_EQ(body[0].size(), 4u);
  EXPECT_EQ(body[0][0],
            json({{"id", 101}, {"text", "[CLS]"}, {"special", true}, {"start", nullptr}, {"stop", nullptr}}));
  EXPECT_EQ(body[0][2], json({{"id", 98}, {"text", "b"}, {"special", false}, {"start", 1}, {"stop", 2}}));
  EXPECT_EQ(Post("/tokenize", R"({"inputs":["ab","c"],"add_special_tokens":false})").Json()[1].size(), 1u);
}

TEST_F(HttpServerTest, BadJsonOfEveryKindIsAClearError) {
  EXPECT_EQ(Post("/rerank", std::string(9000, '[')).status, 400);
  EXPECT_EQ(Post("/rerank", "[]").status, 400);
  EXPECT_EQ(Post("/rerank", "").status, 400);
  EXPECT_EQ(Post("/rerank", "{\"query\":\"\xff\",\"texts\":[\"a\"]}").status, 400);
  EXPECT_EQ(Post("/rerank", R"({"query":1e400,"texts":["a"]})").status, 400);
  EXPECT_EQ(Post("/rerank", R"({"query":"a","query":"b","texts":["a"]})").status, 200);
  EXPECT_EQ(engine_.last_request().queries[0], "b");
}

TEST_F(HttpServerTest, TooManyDocumentsAreRefusedNamingTheBound) {
  json body = {{"query", "q"}, {"texts", std::vector<std::string>(101, "x")}};
  const Reply reply = Post("/rerank", body.dump());
  EXPECT_EQ(reply.status, 422);
  EXPECT_THAT(reply.Json()["error"], HasSubstr("at most 100"));
}

TEST_F(HttpServerTest, DeadlineHeaderReachesTheEngine) {
  EXPECT_EQ(Post("/rerank", R"({"query":"q","texts":["a"]})", "X-Request-Timeout-Ms: 60000\r\n").status, 200);
  EXPECT_TRUE(engine_.last_request().deadline.has_value());
  EXPECT_EQ(Post("/rerank", R"({"query":"q","texts":["a"]})", "X-Request-Timeout-Ms: soon\r\n").status, 422);
}

// --- What the server says about itself.

TEST_F(HttpServerTest, HealthIsEmptyUnlessJsonIsAskedFor) {
  for (const char* path : {"/health", "/", "/ping"}) {
    EXPECT_EQ(Get(path).status, 200);
    EXPECT_EQ(Get(path).body, "");
  }
  EXPECT_EQ(Get("/health", "Accept: application/json\r\n").Json()["status"], "ok");
}

TEST_F(HttpServerTest, WithoutWorkersTheServerIsNeitherReadyNorHealthy) {
  engine_.LoseWorkers();
  for (const char* path : {"/ready", "/health", "/ping", "/v2/health/ready", "/v2/models/fake-model/ready"})
    EXPECT_EQ(Get(path).status, 503) << path;
  EXPECT_THAT(Get("/ready").body, testing::HasSubstr("no worker of model 'fake-model' is left"));
  EXPECT_EQ(Get("/v2/health/live").status, 200);
}

TEST_F(HttpServerTest, ReadinessEndsWithTheDrain) {
  EXPECT_EQ(Get("/ready").status, 200);
  service_.Drain();
  EXPECT_EQ(Get("/ready").status, 503);
  EXPECT_EQ(Get("/health").status, 200);
  EXPECT_EQ(Post("/rerank", R"({"query":"q","texts":["a"]})").status, 503);
}

TEST_F(HttpServerTest, InfoHasTheKeysOfTei) {
  const json info = Get("/info").Json();
  EXPECT_EQ(info["model_id"], "fake-model");
  EXPECT_EQ(info["model_dtype"], "float32");
  EXPECT_EQ(info["model_type"]["reranker"]["id2label"]["0"], "LABEL_0");
  EXPECT_EQ(info["model_type"]["reranker"]["label2id"]["LABEL_0"], 0);
  EXPECT_EQ(info["max_client_batch_size"], 100);
  EXPECT_TRUE(info["max_batch_requests"].is_null());
  EXPECT_EQ(Get("/v1/models").Json()["data"][0]["id"], "fake-model");
}

TEST_F(HttpServerTest, MetricsAreNegotiatedAndResettable) {
  Post("/rerank", R"({"query":"q","texts":["a","b"]})");
  const Reply text = Get("/metrics", "Accept: */*\r\n");
  EXPECT_TRUE(text.Has("content-type: text/plain; version=0.0.4"));
  EXPECT_THAT(text.body, HasSubstr("rerankd_pairs_total{model=\"fake-model\",route=\"/rerank\"} 2"));
  EXPECT_EQ(Get("/metrics", "Accept: application/json\r\n").Json()["query_count"], 2);
  EXPECT_EQ(Get("/metrics.json").Json()["history"]["queries"], json::array({2}));
  EXPECT_EQ(Get("/reset").Json(), json({{"status", "reset"}}));
  EXPECT_EQ(Get("/metrics.json").Json()["query_count"], 0);
}

TEST(Server, StartsWhatIsAskedForAndDrainsOnce) {
  Settings settings;
  settings.server.host = "127.0.0.1";
  settings.server.grpc_port = -1;
  settings.server.http_port = settings.server.prometheus_port = 0;
  FakeEngine engine;
  const auto server = std::move(*Server::Start(settings, engine));
  EXPECT_EQ(server->grpc_address(), "");
  EXPECT_EQ(Client(server->http_address()).Get("/ready").status, 200);
  EXPECT_EQ(Client(server->prometheus_address()).Get("/metrics").status, 200);
  EXPECT_EQ(Client(server->prometheus_address()).Get("/ready").status, 404);
  server->Drain();
  server->Drain();
  EXPECT_EQ(engine.Submit(ScoreRequest::ForQuery("q", {"d"}), nullptr).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace rerankd::serving
