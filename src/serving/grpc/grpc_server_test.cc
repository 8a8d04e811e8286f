// The gRPC server over real sockets on loopback, with the generated C++ client.
#include "serving/grpc/grpc_server.h"

#include <gmock/gmock.h>
#include <google/rpc/retry.pb.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <inference.grpc.pb.h>
#include <open_inference.pb.h>

#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "core/scoring.h"
#include "serving/api_keys.h"
#include "serving/grpc/grpc_fixture.h"
#include "serving/testing/certificate.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using grpc::StatusCode;
using ::testing::HasSubstr;
using HealthReply = grpc::health::v1::HealthCheckResponse;

inference::InferRequest Pairs(const std::vector<std::string>& documents) {
  inference::InferRequest request;
  for (const std::string& document : documents) {
    inference::QueryDocPair* pair = request.add_pairs();
    pair->set_query("q");
    pair->set_document(document);
  }
  return request;
}

class GrpcServerTest : public GrpcFixture<FakeEngine> {
 protected:
  explicit GrpcServerTest(int labels = 1, const Settings& settings = Loopback())
      : GrpcFixture<FakeEngine>(labels, settings),
        stub_(inference::InferenceService::NewStub(channel_)),
        health_(grpc::health::v1::Health::NewStub(channel_)) {}

  grpc::Status Infer(const inference::InferRequest& request) {
    context_ = std::make_unique<grpc::ClientContext>();
    reply_.Clear();
    return stub_->Infer(context_.get(), request, &reply_);
  }

  HealthReply::ServingStatus Health(const std::string& service = "") {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthReply reply;
    EXPECT_TRUE(health_->Check(&context, request, &reply).ok());
    return reply.status();
  }

  std::unique_ptr<inference::InferenceService::Stub> stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  std::unique_ptr<grpc::ClientContext> context_;
  inference::InferResponse reply_;
};

class TwoLabelServerTest : public GrpcServerTest {
 protected:
  TwoLabelServerTest() : GrpcServerTest(2) {}
};

class ThreeLabelServerTest : public GrpcServerTest {
 protected:
  ThreeLabelServerTest() : GrpcServerTest(3) {}
};

TEST_F(GrpcServerTest, AnswersEveryFieldInInputOrder) {
  ASSERT_TRUE(Infer(Pairs({"12345", "", "1234567890"})).ok());
  ASSERT_EQ(reply_.scores_size(), 3);
  EXPECT_FLOAT_EQ(reply_.scores(0), Sigmoid(0.5f));
  EXPECT_FLOAT_EQ(reply_.scores(1), 0.5f);
  EXPECT_FLOAT_EQ(reply_.scores(2), Sigmoid(1.0f));
  EXPECT_EQ(reply_.num_pairs(), 3);
  EXPECT_GT(reply_.latency_ms(), 0);
  EXPECT_EQ(reply_.status_code(), 200);
}

TEST_F(GrpcServerTest, TrailerCarriesTimingsTokensAndTruncation) {
  ASSERT_TRUE(Infer(Pairs({std::string(100'000, 'x'), "12345"})).ok());
  EXPECT_EQ(Trailer(*context_, "x-truncated-documents"), "1");
  EXPECT_EQ(Trailer(*context_, "x-compute-tokens"), "520");
  EXPECT_EQ(Trailer(*context_, "x-queue-time"), "1");
  EXPECT_EQ(Trailer(*context_, "x-tokenization-time"), "2");
  EXPECT_EQ(Trailer(*context_, "x-inference-time"), "4");
  EXPECT_THAT(Trailer(*context_, "server-timing"), HasSubstr("inference;dur=3.600"));
}

TEST_F(TwoLabelServerTest, GiveSoftmaxOfTheSecondLabel) {
  ASSERT_TRUE(Infer(Pairs({"abc"})).ok());
  EXPECT_FLOAT_EQ(reply_.scores(0), Sigmoid(1.0f));  // the fake's logits differ by 1
}

TEST_F(ThreeLabelServerTest, AreRefused) {
  const grpc::Status status = Infer(Pairs({"abc"}));
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("3 labels"));
}

TEST_F(GrpcServerTest, ModeWithoutScoresAnswers204) {
  engine_.ScoresNothing();
  ASSERT_TRUE(Infer(Pairs({"a", "b"})).ok());
  EXPECT_EQ(reply_.status_code(), 204);
  EXPECT_EQ(reply_.scores_size(), 0);
  EXPECT_EQ(reply_.num_pairs(), 2);
}

TEST_F(GrpcServerTest, ZeroPairsAndTooManyPairsAreInvalid) {
  grpc::Status status = Infer({});
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("pairs is empty"));
  status = Infer(Pairs(std::vector<std::string>(101, "x")));
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("at most 100"));
  EXPECT_EQ(engine_.admitted(), 0);
}

TEST_F(GrpcServerTest, MessageOverTheLimitIsResourceExhausted) {
  const grpc::Status status = Infer(Pairs({std::string(400'000, 'x')}));
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("300000"));
}

TEST_F(GrpcServerTest, EmptyNulAndControlCharactersAreScored) {
  ASSERT_TRUE(Infer(Pairs({"", std::string("a\0b", 3), "\x01\x7f\n"})).ok());
  EXPECT_EQ(reply_.scores_size(), 3);
  EXPECT_EQ(engine_.last_request().documents[1].text, std::string("a\0b", 3));
}

// The bytes of an InferRequest whose document is the single byte FF, which a proto3 client cannot send.
TEST_F(GrpcServerTest, InvalidUtf8IsInvalidArgument) {
  const std::string bytes("\x0a\x06\x0a\x01q\x12\x01\xff", 8);
  const grpc::Slice slice(bytes);
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/inference.InferenceService/Infer",
                                    grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("UTF-8"));
}

// Two bytes each on the wire, eighty in memory once parsed.
TEST(MessageShape, BoundsTheNumberOfValues) {
  const auto check = [](const std::string& bytes, const google::protobuf::Descriptor& type) {
    const grpc::Slice slice(bytes);
    return CheckShape(grpc::ByteBuffer(&slice, 1), type);
  };
  const auto repeated = [](const std::string& field, int times) {
    std::string bytes;
    for (int i = 0; i < times; ++i) bytes += field;
    return bytes;
  };
  const auto& infer = *inference::InferRequest::descriptor();
  const auto& kserve = *inference::ModelInferRequest::descriptor();
  const std::string pair("\x0a\0", 2), unknown("\x78\x01", 2), group("\x7b\x78\x01\x7c", 4);
  EXPECT_TRUE(check(repeated(pair, 2'000'000), infer).ok());
  EXPECT_THAT(check(repeated(pair, 2'000'001), infer).message(), HasSubstr("more than 2000000 values"));
  EXPECT_FALSE(check(repeated(unknown, 2'000'001), infer).ok());
  EXPECT_FALSE(check(repeated(group, 1'000'001), infer).ok());
  // A few pairs with long texts.
  inference::InferRequest few;
  for (int i = 0; i < 4; ++i) few.add_pairs()->set_document(std::string(2'000'000, 'x'));
  EXPECT_TRUE(check(few.SerializeAsString(), infer).ok());
  // Deeper: elements of a tensor, sizes of its shape.
  inference::ModelInferRequest call;
  auto* elements = call.add_inputs()->mutable_contents()->mutable_bytes_contents();
  for (int i = 0; i < 2'000'001; ++i) elements->Add();
  EXPECT_FALSE(check(call.SerializeAsString(), kserve).ok());
  call.Clear();
  auto* shape = call.add_inputs()->mutable_shape();
  for (int i = 0; i < 4'100'000; ++i) shape->Add(1);
  EXPECT_FALSE(check(call.SerializeAsString(), kserve).ok());
  // Bytes that are no message are for the parser.
  EXPECT_TRUE(check(std::string(5'000'000, '\xff'), infer).ok());
}

TEST_F(GrpcServerTest, FullQueueSaysWhenToComeBack) {
  engine_.RefuseWith(ResourceExhausted("the queue is full").WithRetryAfter(1250));
  const grpc::Status status = Infer(Pairs({"a"}));
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "the queue is full");
  EXPECT_EQ(Trailer(*context_, "retry-after"), "2");
  EXPECT_EQ(Trailer(*context_, "grpc-retry-pushback-ms"), "1250");
  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
}

TEST_F(GrpcServerTest, BackendFailureIsInternalAndTheNextRequestWorks) {
  engine_.FailWith(Internal("backend lost"));
  EXPECT_EQ(Infer(Pairs({"a"})).error_code(), StatusCode::INTERNAL);
  engine_.FailWith(std::nullopt);
  EXPECT_TRUE(Infer(Pairs({"a"})).ok());
}

TEST_F(GrpcServerTest, DeadlineTravelsToTheEngineAndAGoneClientIsCancelled) {
  engine_.Hold();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  const grpc::Status status = stub_->Infer(&context, Pairs({"a"}), &reply_);
  EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(engine_.last_request().deadline.has_value());
  EXPECT_LE(*engine_.last_request().deadline, SteadyClock::Get().Now() + std::chrono::seconds(1));
  while (engine_.cancelled() == 0) std::this_thread::yield();  // the server drops the work
  EXPECT_EQ(engine_.cancelled(), 1);
}

TEST_F(GrpcServerTest, NoDeadlineMeansNone) {
  ASSERT_TRUE(Infer(Pairs({"a"})).ok());
  EXPECT_FALSE(engine_.last_request().deadline.has_value());
}

TEST_F(GrpcServerTest, GetMetricsCountsRequestsAndPairs) {
  ASSERT_TRUE(Infer(Pairs({"a", "b"})).ok());
  ASSERT_TRUE(Infer(Pairs({"c"})).ok());
  grpc::ClientContext context;
  inference::MetricsResponse metrics;
  ASSERT_TRUE(stub_->GetMetrics(&context, {}, &metrics).ok());
  EXPECT_EQ(metrics.count(), 2);
  EXPECT_EQ(metrics.query_count(), 3);
  EXPECT_GT(metrics.avg_ms(), 0);
  EXPECT_GE(metrics.p99_ms(), metrics.p50_ms());
}

TEST_F(GrpcServerTest, HealthKnowsItsServicesAndTellsWatchersOfADrain) {
  EXPECT_EQ(Health(), HealthReply::SERVING);
  for (const char* name : {"inference.InferenceService", "inference.GRPCInferenceService", "tei.v1.Info",
                           "tei.v1.Rerank", "tei.v1.Predict", "tei.v1.Tokenize"})
    EXPECT_EQ(Health(name), HealthReply::SERVING) << name;
  EXPECT_EQ(Health("tei.v1.Embed"), HealthReply::NOT_SERVING);
  grpc::ClientContext unknown;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("no.such.Service");
  HealthReply reply;
  EXPECT_EQ(health_->Check(&unknown, request, &reply).error_code(), StatusCode::NOT_FOUND);

  grpc::ClientContext context;
  auto watch = health_->Watch(&context, {});
  ASSERT_TRUE(watch->Read(&reply));
  EXPECT_EQ(reply.status(), HealthReply::SERVING);
  server_->AnnounceDrain();
  ASSERT_TRUE(watch->Read(&reply));
  EXPECT_EQ(reply.status(), HealthReply::NOT_SERVING);
  EXPECT_EQ(Health(), HealthReply::NOT_SERVING);
  server_->Shutdown(std::chrono::seconds(5));  // ends the watch
  EXPECT_FALSE(watch->Read(&reply));
}

TEST_F(GrpcServerTest, DrainAnswersWhatWasAdmitted) {
  engine_.Hold();
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(std::async(std::launch::async, [this] {
      grpc::ClientContext context;
      inference::InferResponse reply;
      return stub_->Infer(&context, Pairs({"a"}), &reply);
    }));
  }
  while (engine_.admitted() < 8) std::this_thread::yield();
  server_->AnnounceDrain();
  service_.Drain();
  server_->Shutdown(std::chrono::seconds(5));
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
}

TEST_F(GrpcServerTest, DrainingServerRefusesWithUnavailable) {
  service_.Drain();
  EXPECT_EQ(Infer(Pairs({"a"})).error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, PortInUseIsAnErrorThatNamesTheAddress) {
  Settings settings = Loopback();
  settings.server.grpc_port = std::stoi(server_->address().substr(server_->address().find(':') + 1));
  ScoreService service(settings, engine_, SteadyClock::Get());
  const auto second = GrpcServer::Start({service, *security_, *log_});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("cannot listen on " + server_->address()));
  EXPECT_THAT(second.status().message(), HasSubstr("in use"));
}

// A server with a key file, TLS and an access log.
struct SecureFiles {
  SecureFiles() {
    const NewApiKey made = *MakeApiKey({"search-team", 3, false});
    key = made.key;
    pem = MakeTestCertificate();
    settings = GrpcFixture<FakeEngine>::Loopback();
    settings.server.api_key_file = folder.Write("keys.jsonl", made.line + "\n");
    settings.server.tls_cert = folder.Write("cert.pem", pem.certificate);
    settings.server.tls_key = folder.Write("key.pem", pem.key);
    settings.server.access_log = folder.path() + "/access.log";
  }

  rerankd::testing::TemporaryFolder folder;
  std::string key;
  TlsPem pem;
  Settings settings;
};

class SecureServerTest : public SecureFiles, public GrpcServerTest {
 protected:
  SecureServerTest() : GrpcServerTest(1, SecureFiles::settings) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = pem.certificate;
    const std::string port = server_->address().substr(server_->address().rfind(':'));
    channel_ = grpc::CreateChannel("localhost" + port, grpc::SslCredentials(options));
    stub_ = inference::InferenceService::NewStub(channel_);
    health_ = grpc::health::v1::Health::NewStub(channel_);
  }

  grpc::Status InferWith(const std::string& authorization) {
    context_ = std::make_unique<grpc::ClientContext>();
    if (!authorization.empty()) context_->AddMetadata("authorization", authorization);
    context_->AddMetadata("x-request-id", "id-1");
    context_->AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    return stub_->Infer(context_.get(), Pairs({"abc"}), &reply_);
  }

  // The lines of the access log so far; closes it.
  std::vector<nlohmann::json> LogLines() {
    server_->Shutdown(std::chrono::seconds(5));
    log_.reset();
    std::vector<nlohmann::json> lines;
    const std::string text = *ReadFile(folder.path() + "/access.log");
    for (const std::string_view line : Split(text, '\n'))
      if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
};

TEST_F(SecureServerTest, WantsAKeyAndKnowsWhoseItIs) {
  for (const std::string& wrong : {std::string(), "Bearer " + key + "x", key}) {
    const grpc::Status status = InferWith(wrong);
    EXPECT_EQ(status.error_code(), StatusCode::UNAUTHENTICATED);
    EXPECT_THAT(status.error_message(), HasSubstr("authorization: Bearer KEY"));
  }
  EXPECT_EQ(engine_.admitted(), 0);
  ASSERT_TRUE(InferWith("Bearer " + key).ok());
  EXPECT_EQ(engine_.last_request().tenant, "search-team");
  EXPECT_EQ(engine_.last_request().weight, 3);
}

TEST_F(SecureServerTest, HealthAsksForNoKey) { EXPECT_EQ(Health(), HealthReply::SERVING); }

TEST_F(SecureServerTest, LogsEveryCallWithItsIdentities) {
  ASSERT_TRUE(InferWith("Bearer " + key).ok());
  EXPECT_EQ(Trailer(*context_, "x-request-id"), "id-1");
  ASSERT_FALSE(InferWith("").ok());
  const std::vector<nlohmann::json> lines = LogLines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["protocol"], "grpc");
  EXPECT_EQ(lines[0]["method"], "Infer");
  EXPECT_EQ(lines[0]["route"], "inference.InferenceService");
  EXPECT_EQ(lines[0]["status"], 0);
  EXPECT_EQ(lines[0]["request_id"], "id-1");
  EXPECT_EQ(lines[0]["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  EXPECT_EQ(lines[0]["caller"], "search-team");
  EXPECT_EQ(lines[0]["documents"], 1);
  EXPECT_EQ(lines[0]["tokens"], 6);
  EXPECT_GT(lines[0]["request_bytes"], 0);
  EXPECT_GT(lines[0]["reply_bytes"], 0);
  EXPECT_EQ(lines[1]["status"], static_cast<int>(StatusCode::UNAUTHENTICATED));
  EXPECT_FALSE(lines[1].contains("documents"));
}

}  // namespace
}  // namespace rerankd::serving
