// Clients against scripted targets on real sockets: what each protocol sends, and what becomes of every kind
// of bad answer.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/temporary_folder.h"
#include "inference.grpc.pb.h"
#include "load/generator.h"
#include "load/http_dialect.h"
#include "load/measure.h"
#include "load/request_log.h"
#include "load/stage_times.h"
#include "load/target.h"
#include "load/testing/raw_server.h"
#include "open_inference.grpc.pb.h"
#include "tei.grpc.pb.h"

namespace rerankd::load {
namespace {

using Json = nlohmann::json;
using rerankd::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Dataset SomePairs() {
  Dataset dataset;
  dataset.pairs = {{"q \"1\"", "d\n1"}, {"q2", "d2"}, {"q3", "d3"}};
  dataset.info.pairs = 3;
  return dataset;
}

constexpr const char* kTeiReply = R"([{"index":1,"score":0.75},{"index":0,"score":0.5}])";

class ClientTest : public ::testing::Test {
 protected:
  std::vector<Reply> Send(Client& client, int requests, int in_flight = 1) {
    std::vector<Reply> replies;
    ArrivalSpec spec{2, 3, requests, {}};
    const auto arrivals = MakeImmediate(spec);
    LoadPlan plan;
    plan.in_flight = in_flight;
    LoadHooks hooks;
    hooks.sink = [&](const Sample& sample) { replies.push_back(sample.reply); };
    const std::atomic<bool> interrupt{false};
    RunLoad(plan, *arrivals, client, interrupt, hooks);
    return replies;
  }
  std::unique_ptr<Client> Make(const std::string& protocol, const std::string& url,
                               double timeout_ms = 5000) {
    Target target;
    target.url = url;
    target.protocol = protocol;
    target.timeout_ms = timeout_ms;
    target.model = "m";
    target.api_key = "secret";
    auto client = MakeClient(target, workload_);
    EXPECT_TRUE(client.ok()) << client.status().ToString();
    return std::move(*client);
  }
  std::vector<Reply> SendHttp(const RawServer& server, int requests, double timeout_ms = 5000) {
    const auto client =
        Make("tei", "http://127.0.0.1:" + std::to_string(server.port()) + "/base/", timeout_ms);
    return Send(*client, requests);
  }
  Reply Read(const std::string& protocol, const std::string& body) {
    const auto dialect = HttpDialect::Create(protocol, "m", workload_);
    Reply reply;
    (*dialect)->ReadScores(body, {0, 0, 2}, &reply);
    return reply;
  }
  Json Body(const std::string& protocol) {
    const auto dialect = HttpDialect::Create(protocol, "a \"model\"", workload_);
    std::string body;
    (*dialect)->WriteBody({4, 2, 2}, &body);
    return Json::parse(body);
  }

  const Dataset dataset_ = SomePairs();
  const Workload workload_{dataset_, true};
};

TEST_F(ClientTest, EachDialectAsksWithOneQueryAndWrapsTheDataSet) {
  EXPECT_EQ(Body("tei"), Json::parse(R"({"query": "q3", "texts": ["d3", "d\n1"], "truncate": true})"));
  const Json named = {{"model", "a \"model\""}, {"query", "q3"}, {"documents", {"d3", "d\n1"}}};
  EXPECT_EQ(Body("cohere"), named);
  Json without_echo = named;
  without_echo["return_documents"] = false;
  EXPECT_EQ(Body("jina"), without_echo);
  EXPECT_EQ(Body("infinity"), without_echo);
  EXPECT_EQ(Body("kserve"), Json::parse(R"({"inputs": [
      {"name": "query", "shape": [1], "datatype": "BYTES", "data": ["q3"]},
      {"name": "texts", "shape": [2], "datatype": "BYTES", "data": ["d3", "d\n1"]}]})"));
  EXPECT_EQ((*HttpDialect::Create("kserve", "m", workload_))->path(), "/v2/models/m/infer");
}

TEST_F(ClientTest, ScoresComeBackInTheOrderOfTheDocuments) {
  EXPECT_THAT(Read("tei", kTeiReply).scores, ElementsAre(0.5f, 0.75f));
  const std::string results =
      R"({"results": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": -1}]})";
  for (const char* protocol : {"jina", "cohere", "infinity"})
    EXPECT_THAT(Read(protocol, results).scores, ElementsAre(-1.0f, 2.0f));
  EXPECT_THAT(Read("kserve", R"({"outputs": [{"name": "scores", "data": [1, 2]}]})").scores,
              ElementsAre(1.0f, 2.0f));
}

TEST_F(ClientTest, ScoresAreReadHoweverTheyAreWritten) {
  for (const char* body : {R"([{"index":0,"score":-0.5},{"index":1,"score":1e-3}])",
                           R"([{"index":1,"score":1e-3},{"index":0,"score":-0.5}])",
                           R"([ {"index": 0, "score": -0.5}, {"index": 1, "score": 0.001} ])",
                           R"([{"score":-0.5,"index":0},{"index":1,"text":"[{","score":1.0e-3}])"})
    EXPECT_THAT(Read("tei", body).scores, ElementsAre(-0.5f, 0.001f)) << body;
}

TEST_F(ClientTest, AnswersThatAreNoScoresAreToldApart) {
  const std::pair<const char*, Outcome> kBodies[] = {
      {R"([{"index":0,"score":1}])", Outcome::kWrongCount},
      {R"([{"index":0,"score":1},{"index":1,"score":1},{"index":2,"score":1}])", Outcome::kWrongCount},
      {R"([{"index":0,"score":1},{"index":0,"score":1}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":7,"score":1}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":-1,"score":1}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":1,"score":"x"}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":1}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":1,"score":null}])", Outcome::kNotFinite},
      {R"([{"index":0,"score":1},{"index":1,"score":NaN}])", Outcome::kNotFinite},
      {R"([{"index":0,"score":1},{"index":1,"score":1e999}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":1,"score":1}]x)", Outcome::kGarbage},
      {R"([{"index":0,"score":1},{"index":1,"score":1})", Outcome::kGarbage},
      {R"([{"index":0,"score":.5},{"index":1,"score":1}])", Outcome::kGarbage},
      {R"([{"index":0,"score":1e60},{"index":1,"score":1}])", Outcome::kNotFinite},
      {R"({"results": []})", Outcome::kGarbage},
      {"<html>", Outcome::kGarbage},
      {"", Outcome::kGarbage}};
  for (const auto& [body, outcome] : kBodies) {
    const Reply reply = Read("tei", body);
    EXPECT_EQ(reply.outcome, outcome) << body << ": " << reply.detail;
    EXPECT_THAT(reply.detail, ::testing::Not(IsEmpty()));
    EXPECT_THAT(reply.scores, IsEmpty());
  }
}

TEST_F(ClientTest, AConnectionIsUsedAgain) {
  std::string seen;
  RawServer server([&](int, const std::string& request) {
    seen = request;
    return RawReply{
        Http(kTeiReply, "200 OK", "Server-Timing: queue;dur=1.5, tokenize;dur=0.25, inference;dur=9\r\n")};
  });
  const auto replies = SendHttp(server, 5);
  ASSERT_THAT(replies, SizeIs(5));
  EXPECT_EQ(replies[4].outcome, Outcome::kOk);
  EXPECT_THAT(replies[4].scores, ElementsAre(0.5f, 0.75f));
  EXPECT_EQ(replies[4].queue_ms, 1.5);
  EXPECT_EQ(replies[4].tokenize_ms, 0.25);
  EXPECT_EQ(replies[4].inference_ms, 9);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_THAT(seen, AllOf(HasSubstr("POST /base/rerank HTTP/1.1\r\n"),
                          HasSubstr("Authorization: Bearer secret\r\n"), HasSubstr("Host: 127.0.0.1:")));
}

TEST_F(ClientTest, AKeptConnectionThatWasClosedIsReplacedWithoutAFailure) {
  RawServer server([](int, const std::string&) { return RawReply{Http(kTeiReply), true}; });
  for (const Reply& reply : SendHttp(server, 4)) EXPECT_EQ(reply.outcome, Outcome::kOk) << reply.detail;
  EXPECT_EQ(server.connections(), 4);
  EXPECT_EQ(server.requests(), 4);
}

TEST_F(ClientTest, StatusesAreOutcomesAndDoNotEndTheConnection) {
  const std::pair<const char*, Outcome> kStatuses[] = {{"429 Too Many Requests", Outcome::kRefused},
                                                       {"504 Gateway Timeout", Outcome::kTimeout},
                                                       {"500 Internal Server Error", Outcome::kError},
                                                       {"404 Not Found", Outcome::kError},
                                                       {"200 OK", Outcome::kOk}};
  RawServer server([&](int number, const std::string&) {
    return RawReply{
        Http(number == 4 ? kTeiReply : "some text", kStatuses[number].first, "Retry-After: 3\r\n")};
  });
  const auto replies = SendHttp(server, 5);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(replies[i].outcome, kStatuses[i].second) << i;
  EXPECT_EQ(replies[0].status, 429);
  EXPECT_EQ(replies[0].retry_after_s, 3);
  EXPECT_EQ(replies[2].detail, "HTTP 500: some text");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(ClientTest, BrokenRepliesAreOutcomesAndTheNextRequestWorks) {
  const std::pair<RawReply, Outcome> kReplies[] = {
      {{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[{\"ind", true}, Outcome::kUnreachable},
      {{"HTTP/1.1 200 O", true}, Outcome::kUnreachable},
      {{"", true}, Outcome::kUnreachable},
      {{"SSH-2.0-OpenSSH_9.2\r\n\r\n", true}, Outcome::kGarbage},
      {{"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", true}, Outcome::kGarbage},
      {{Http(kTeiReply)}, Outcome::kOk}};
  RawServer server([&](int number, const std::string&) { return kReplies[number].first; });
  const auto replies = SendHttp(server, 6);
  for (size_t i = 0; i < 6; ++i)
    EXPECT_EQ(replies[i].outcome, kReplies[i].second) << i << ": " << replies[i].detail;
  EXPECT_EQ(server.requests(), 6);
}

TEST_F(ClientTest, BodiesInChunksAndUpToTheEndOfTheConnectionAreRead) {
  const std::string body = kTeiReply;
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" +
                              body.substr(0, 5) + "\r\n" + fmt::format("{:x}", body.size() - 5) + "\r\n" +
                              body.substr(5) + "\r\n0\r\n\r\n";
  const RawReply kReplies[] = {{chunked}, {"HTTP/1.1 200 OK\r\n\r\n" + body, true}, {chunked}};
  RawServer server([&](int number, const std::string&) { return kReplies[number]; });
  for (const Reply& reply : SendHttp(server, 3)) {
    EXPECT_EQ(reply.outcome, Outcome::kOk) << reply.detail;
    EXPECT_THAT(reply.scores, ElementsAre(0.5f, 0.75f));
  }
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(ClientTest, AReplyInPiecesIsReadWhole) {
  const std::string whole = Http(kTeiReply, "200 OK", "Retry-After: 3\r\n");
  RawServer server([&](int, const std::string&) {
    RawReply reply{whole};
    reply.piece = 1;
    return reply;
  });
  const auto replies = SendHttp(server, 1);
  EXPECT_EQ(replies[0].outcome, Outcome::kOk) << replies[0].detail;
  EXPECT_EQ(replies[0].retry_after_s, 3);
}

TEST_F(ClientTest, ARequestThatFillsTheBuffersIsSentWhole) {
  Dataset dataset;
  dataset.pairs = {{"q", std::string(16 << 20, 'd')}, {"q", "e"}};
  dataset.info.pairs = 2;
  std::atomic<size_t> bytes{0};
  RawServer server([&](int, const std::string& request) {
    bytes = request.size();
    return RawReply{Http(kTeiReply)};
  });
  Target target;
  target.url = "http://127.0.0.1:" + std::to_string(server.port());
  target.protocol = "tei";
  const auto client = MakeClient(target, Workload(dataset, true));
  for (const Reply& reply : Send(**client, 2)) EXPECT_EQ(reply.outcome, Outcome::kOk) << reply.detail;
  EXPECT_GT(bytes, 16u << 20);
  EXPECT_EQ(server.connections(), 1);
}

// What a target says unasked must not become the answer of the next request.
TEST_F(ClientTest, AReplyTooManyEndsTheConnection) {
  RawServer server([](int number, const std::string&) {
    const std::string other = R"([{"index":0,"score":9},{"index":1,"score":9}])";
    return RawReply{number == 0 ? Http(kTeiReply) + Http(other) : Http(kTeiReply)};
  });
  for (const Reply& reply : SendHttp(server, 3))
    EXPECT_THAT(reply.scores, ElementsAre(0.5f, 0.75f)) << reply.detail;
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(ClientTest, ASlowReplyIsATimeout) {
  RawServer server([](int number, const std::string&) {
    return RawReply{Http(kTeiReply), false, number == 0 ? 300 : 0};
  });
  const auto replies = SendHttp(server, 2, 100);
  EXPECT_EQ(replies[0].outcome, Outcome::kTimeout);
  EXPECT_THAT(replies[0].detail, HasSubstr("100 ms"));
  EXPECT_EQ(replies[1].outcome, Outcome::kOk);
}

TEST_F(ClientTest, TimeWithoutARequestPassesAndTheNextOneWorks) {
  RawServer server([](int, const std::string&) { return RawReply{Http(kTeiReply)}; });
  const auto client = Make("tei", "http://127.0.0.1:" + std::to_string(server.port()));
  for (int i = 0; i < 3; ++i) {
    client->RunUntil(SteadyClock::Get().Now() + std::chrono::milliseconds(2));
    EXPECT_EQ(Send(*client, 1)[0].outcome, Outcome::kOk);
  }
  EXPECT_EQ(server.requests(), 3);
}

TEST_F(ClientTest, NobodyListensIsAConnectionFailure) {
  int port = 0;
  {
    port = RawServer([](int, const std::string&) { return RawReply{}; }).port();
  }
  const auto http = Make("jina", "http://127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(Send(*http, 1)[0].outcome, Outcome::kUnreachable);
  const auto grpc = Make("rerankd", "127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(Send(*grpc, 1)[0].outcome, Outcome::kUnreachable);
}

class FakeInference final : public inference::InferenceService::Service {
 public:
  grpc::Status Infer(grpc::ServerContext* context, const inference::InferRequest* request,
                     inference::InferResponse* response) override {
    const int number = requests_.fetch_add(1);
    if (number == 0) return {grpc::StatusCode::INTERNAL, "broke"};
    if (number == 1) {
      context->AddTrailingMetadata("grpc-retry-pushback-ms", "1500");
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
    }
    if (number == 4) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    for (int i = number == 2 ? 1 : 0; i < request->pairs_size(); ++i)
      response->add_scores(number == 3 ? NAN : static_cast<float>(request->pairs(i).query().size()));
    return grpc::Status::OK;
  }

 private:
  std::atomic<int> requests_{0};
};

TEST_F(ClientTest, GrpcAnswersAreToldApart) {
  FakeInference service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto client = Make("rerankd", "grpc://127.0.0.1:" + std::to_string(port), 200);
  const auto replies = Send(*client, 6);
  ASSERT_THAT(replies, SizeIs(6));
  EXPECT_EQ(replies[0].outcome, Outcome::kError);
  EXPECT_EQ(replies[0].detail, "INTERNAL: broke");
  EXPECT_EQ(replies[1].outcome, Outcome::kRefused);
  EXPECT_EQ(replies[1].retry_after_s, 1.5);
  EXPECT_EQ(replies[2].outcome, Outcome::kWrongCount);
  EXPECT_EQ(replies[3].outcome, Outcome::kNotFinite);
  EXPECT_EQ(replies[4].outcome, Outcome::kTimeout);
  EXPECT_EQ(replies[5].outcome, Outcome::kOk);
  EXPECT_THAT(replies[5].scores,
              ElementsAre(2.0f, 2.0f));  // request 5: pairs 1 and 2, both with the query "q2"
}

class FakeTei final : public tei::v1::Rerank::Service {
 public:
  grpc::Status Rerank(grpc::ServerContext*, const tei::v1::RerankRequest* request,
                      tei::v1::RerankResponse* response) override {
    // Best first: the last text. Its score is the length of the query, then of the texts.
    const bool twice = requests_.fetch_add(1) == 1;
    for (int i = request->texts_size() - 1; i >= 0; --i) {
      tei::v1::Rank* rank = response->add_ranks();
      rank->set_index(twice ? 0 : static_cast<uint32_t>(i));
      rank->set_score(static_cast<float>(10 * request->query().size() + request->texts(i).size()));
    }
    return request->truncate() ? grpc::Status::OK
                               : grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "truncate");
  }

 private:
  std::atomic<int> requests_{0};
};

class FakeKserve final : public inference::GRPCInferenceService::Service {
 public:
  grpc::Status ModelInfer(grpc::ServerContext*, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    if (request->model_name() != "m" || request->inputs_size() != 2 || request->inputs(0).name() != "query" ||
        request->inputs(1).shape(0) != request->inputs(1).contents().bytes_contents_size())
      return {grpc::StatusCode::INVALID_ARGUMENT, "not as the protocol says"};
    std::vector<float> scores;
    for (const std::string& text : request->inputs(1).contents().bytes_contents())
      scores.push_back(static_cast<float>(text.size()));
    auto* output = response->add_outputs();
    if (requests_.fetch_add(1) == 0)
      output->mutable_contents()->mutable_fp32_contents()->Assign(scores.begin(), scores.end());
    else
      response->add_raw_output_contents(reinterpret_cast<const char*>(scores.data()),
                                        scores.size() * sizeof(float));
    return grpc::Status::OK;
  }

 private:
  std::atomic<int> requests_{0};
};

TEST_F(ClientTest, TheOtherGrpcProtocolsAreSpoken) {
  FakeTei tei;
  FakeKserve kserve;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&tei);
  builder.RegisterService(&kserve);
  const auto server = builder.BuildAndStart();
  const std::string address = "127.0.0.1:" + std::to_string(port);
  const auto tei_replies = Send(*Make("tei-grpc", address), 2);
  EXPECT_THAT(tei_replies[0].scores, ElementsAre(53.0f, 52.0f))
      << tei_replies[0].detail;  // query of 5, texts 3 and 2
  EXPECT_EQ(tei_replies[1].outcome, Outcome::kGarbage);
  for (const Reply& reply : Send(*Make("kserve", address), 2)) {
    EXPECT_EQ(reply.outcome, Outcome::kOk) << reply.detail;
    EXPECT_THAT(reply.scores, SizeIs(2));
  }
}

TEST_F(ClientTest, TargetsThatCannotBeAreNamed) {
  const auto error = [&](const std::string& protocol, const std::string& url) {
    Target target;
    target.url = url;
    target.protocol = protocol;
    const auto client = MakeClient(target, workload_);
    EXPECT_FALSE(client.ok()) << url;
    return client.status().message();
  };
  EXPECT_THAT(error("teii", "http://h:1"), HasSubstr("did you mean 'tei'"));
  EXPECT_THAT(error("tei", "127.0.0.1:80"), HasSubstr("write http://host:port"));
  EXPECT_THAT(error("rerankd", "http://h:1"), HasSubstr("gRPC"));
  EXPECT_THAT(error("tei", "ftp://h:1"), AllOf(HasSubstr("'ftp://h:1'"), HasSubstr("https://")));
  EXPECT_THAT(error("rerankd", "https://h:1"), HasSubstr("grpcs://host:port"));
  EXPECT_THAT(error("tei", "grpcs://h:1"), HasSubstr("https://host:port"));
  EXPECT_THAT(error("rerankd", "grpcs://h"), HasSubstr("host:port"));
  EXPECT_THAT(error("tei", "http://h:99999"), HasSubstr("99999"));
  EXPECT_THAT(error("tei", "http://"), HasSubstr("no host"));
  EXPECT_THAT(error("rerankd", "localhost"), HasSubstr("host:port"));
}

TEST(ServerTiming, OddOnesAreNotKnown) {
  Reply reply;
  ReadServerTiming("queue;dur=abc, tokenize;dur=-1,inference;dur=2.5, total", &reply);
  EXPECT_EQ(reply.queue_ms, -1);
  EXPECT_EQ(reply.tokenize_ms, -1);
  EXPECT_EQ(reply.inference_ms, 2.5);
}

DatasetInfo Info(const std::string& sha256) { return {"pairs.jsonl", sha256, 3, 100}; }

TEST(RequestLogTest, WhatIsWrittenCanBeSentAgain) {
  const TemporaryFolder folder;
  for (const std::string name : {"/log.csv", "/log.jsonl"}) {
    auto log = RequestLog::Create(folder.path() + name, "abc");
    ASSERT_TRUE(log.ok());
    Sample sample;
    sample.work = {1, 2, 3};
    sample.intended_ms = 20.5;
    sample.reply.detail = "a, \"b\"\nc";
    (*log)->Write(sample);
    sample.work = {0, 0, 3};
    sample.intended_ms = 10;
    (*log)->Write(sample);
    ASSERT_TRUE((*log)->Close().ok());
    const auto arrivals = ReadArrivals(folder.path() + name, Info("abc"));
    ASSERT_TRUE(arrivals.ok()) << arrivals.status().ToString();
    ASSERT_THAT(*arrivals, SizeIs(2));
    EXPECT_EQ((*arrivals)[0].work.index, 0);
    EXPECT_EQ((*arrivals)[1].work.first, 2);
    EXPECT_EQ((*arrivals)[1].work.pairs, 3);
    EXPECT_DOUBLE_EQ(ToMs((*arrivals)[1].at), 20.5);
    EXPECT_THAT(ReadArrivals(folder.path() + name, Info("def")).status().message(),
                AllOf(HasSubstr(name), HasSubstr("abc"), HasSubstr("def"), HasSubstr("--data")));
  }
}

TEST(RequestLogTest, DamagedLogsNameTheLine) {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& name, const std::string& text) {
    return ReadArrivals(folder.Write(name, text), Info("abc")).status().message();
  };
  const std::string good = "{\"index\":0,\"first\":0,\"pairs\":1,\"intended_ms\":1}\n";
  EXPECT_THAT(error("a.jsonl", good + "{\"index\":0,\"first\":3,\"pairs\":1,\"intended_ms\":1}\n"),
              AllOf(HasSubstr("a.jsonl:2"), HasSubstr("first")));
  EXPECT_THAT(error("a.jsonl", good + good + "x\n"), HasSubstr("a.jsonl:3"));
  EXPECT_THAT(error("a.jsonl", "{\"index\":0,\"first\":0,\"pairs\":0,\"intended_ms\":1}\n"),
              HasSubstr("pairs"));
  EXPECT_THAT(error("a.jsonl", "{\"index\":0,\"first\":0,\"pairs\":1,\"intended_ms\":-1}\n"),
              HasSubstr("intended_ms"));
  EXPECT_THAT(error("a.csv", "index,first\n1,2\n"), AllOf(HasSubstr("a.csv:2"), HasSubstr("pairs")));
  EXPECT_THAT(error("a.csv", "index,first\n1,2,3\n"), HasSubstr("a.csv:2"));
  EXPECT_THAT(error("a.csv", "header\n"), HasSubstr("no request"));
  EXPECT_THAT(error("a.txt", "x"), HasSubstr(".jsonl"));
  EXPECT_FALSE(RequestLog::Create(folder.path() + "/none/a.csv", "abc").ok());
}

// As the error on other data advises, and for logs from elsewhere.
TEST(RequestLogTest, ALogNeedNotNameItsData) {
  const TemporaryFolder folder;
  for (const auto& [name, text] :
       {std::pair("a.jsonl", "{\"index\":7,\"first\":2,\"pairs\":1,\"intended_ms\":5}\n"),
        std::pair("a.csv", "first,intended_ms,index,pairs\n2,5,7,1\n"),
        std::pair("b.csv", "first,intended_ms,index,pairs,data_sha256\n2,5,7,1,\n")}) {
    const auto arrivals = ReadArrivals(folder.Write(name, text), Info("abc"));
    ASSERT_TRUE(arrivals.ok()) << name << ": " << arrivals.status().ToString();
    EXPECT_EQ((*arrivals)[0].work.index, 7);
    EXPECT_EQ((*arrivals)[0].work.first, 2);
    EXPECT_DOUBLE_EQ(ToMs((*arrivals)[0].at), 5);
  }
}

TEST(RequestLogTest, AFullDiskIsReported) {
  // /dev/full has no extension, so a link to it stands in.
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/full.jsonl";
  ASSERT_EQ(symlink("/dev/full", path.c_str()), 0);
  auto log = RequestLog::Create(path, "abc");
  ASSERT_TRUE(log.ok());
  (*log)->Write({});
  EXPECT_THAT((*log)->Close().message(), HasSubstr("No space left"));
}

}  // namespace
}  // namespace rerankd::load
