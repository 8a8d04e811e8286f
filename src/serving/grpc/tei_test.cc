// tei.v1 over real sockets on loopback, with the generated C++ client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tei.grpc.pb.h>

#include <string>
#include <thread>
#include <vector>

#include "core/scoring.h"
#include "serving/grpc/grpc_fixture.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using grpc::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

tei::v1::RerankRequest Texts(const std::vector<std::string>& texts) {
  tei::v1::RerankRequest request;
  request.set_query("q");
  for (const std::string& text : texts) request.add_texts(text);
  return request;
}

tei::v1::RerankStreamRequest Streamed(const std::string& text, bool truncate = false) {
  tei::v1::RerankStreamRequest request;
  request.set_query("q");
  request.set_text(text);
  request.set_truncate(truncate);
  return request;
}

tei::v1::PredictPairRequest Pair(const std::string& query, const std::string& document) {
  tei::v1::PredictPairRequest request;
  request.add_inputs(query);
  request.add_inputs(document);
  return request;
}

class TeiTest : public GrpcFixture<FakeEngine> {
 protected:
  explicit TeiTest(int labels = 1)
      : GrpcFixture<FakeEngine>(labels),
        rerank_(tei::v1::Rerank::NewStub(channel_)),
        predict_(tei::v1::Predict::NewStub(channel_)),
        tokenize_(tei::v1::Tokenize::NewStub(channel_)) {}

  grpc::Status Rerank(const tei::v1::RerankRequest& request) {
    context_ = std::make_unique<grpc::ClientContext>();
    return rerank_->Rerank(context_.get(), request, &ranks_);
  }
  grpc::Status RerankStream(const std::vector<tei::v1::RerankStreamRequest>& messages) {
    context_ = std::make_unique<grpc::ClientContext>();
    auto stream = rerank_->RerankStream(context_.get(), &ranks_);
    for (const auto& message : messages)
      if (!stream->Write(message)) break;
    stream->WritesDone();
    return stream->Finish();
  }
  // Sends all, then reads what comes.
  grpc::Status PredictStream(const std::vector<tei::v1::PredictPairRequest>& requests) {
    context_ = std::make_unique<grpc::ClientContext>();
    auto stream = predict_->PredictPairStream(context_.get());
    for (const auto& request : requests)
      if (!stream->Write(request)) break;
    stream->WritesDone();
    tei::v1::PredictResponse response;
    while (stream->Read(&response)) predictions_.push_back(response);
    return stream->Finish();
  }
  std::vector<uint32_t> Order() const {
    std::vector<uint32_t> order;
    for (const auto& rank : ranks_.ranks()) order.push_back(rank.index());
    return order;
  }

  std::unique_ptr<tei::v1::Rerank::Stub> rerank_;
  std::unique_ptr<tei::v1::Predict::Stub> predict_;
  std::unique_ptr<tei::v1::Tokenize::Stub> tokenize_;
  std::unique_ptr<grpc::ClientContext> context_;
  tei::v1::RerankResponse ranks_;
  std::vector<tei::v1::PredictResponse> predictions_;
};

class TeiTwoLabelsTest : public TeiTest {
 protected:
  TeiTwoLabelsTest() : TeiTest(2) {}
};

TEST_F(TeiTest, InfoDescribesModelAndLimits) {
  auto stub = tei::v1::Info::NewStub(channel_);
  grpc::ClientContext context;
  tei::v1::InfoResponse info;
  ASSERT_TRUE(stub->Info(&context, {}, &info).ok());
  EXPECT_EQ(info.model_id(), "fake-model");
  EXPECT_EQ(info.model_dtype(), "float32");
  EXPECT_EQ(info.model_type(), tei::v1::MODEL_TYPE_RERANKER);
  EXPECT_EQ(info.max_input_length(), 512u);
  EXPECT_EQ(info.max_client_batch_size(), 100u);
  EXPECT_FALSE(info.has_sha());
}

TEST_F(TeiTest, RanksBestFirstTiesInInputOrder) {
  ASSERT_TRUE(Rerank(Texts({"aa", "bbbb", "cc", "dddd"})).ok());
  EXPECT_THAT(Order(), ElementsAre(1, 3, 0, 2));
  EXPECT_FLOAT_EQ(ranks_.ranks(0).score(), Sigmoid(0.4f));
  EXPECT_FALSE(ranks_.ranks(0).has_text());
  EXPECT_EQ(ranks_.metadata().compute_chars(), 16u);  // "q" once per text
  EXPECT_EQ(ranks_.metadata().compute_tokens(), 24u);
  EXPECT_EQ(ranks_.metadata().tokenization_time_ns(), 2'000'000u);
  EXPECT_EQ(ranks_.metadata().queue_time_ns(), 1'250'000u);
  EXPECT_EQ(Trailer(*context_, "x-compute-tokens"), "24");
  EXPECT_EQ(context_->GetServerInitialMetadata().count("x-total-time"), 1u);
}

TEST_F(TeiTest, RawScoresAndTextsOnDemand) {
  tei::v1::RerankRequest request = Texts({"aa", "bbbb"});
  request.set_raw_scores(true);
  request.set_return_text(true);
  ASSERT_TRUE(Rerank(request).ok());
  EXPECT_FLOAT_EQ(ranks_.ranks(0).score(), 0.4f);
  EXPECT_EQ(ranks_.ranks(0).text(), "bbbb");
  EXPECT_EQ(ranks_.ranks(1).text(), "aa");
}

TEST_F(TeiTest, TruncationIsOffUnlessAskedForAndHasADirection) {
  tei::v1::RerankRequest request = Texts({"aa"});
  ASSERT_TRUE(Rerank(request).ok());
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kError);
  request.set_truncate(true);
  request.set_truncation_direction(tei::v1::TRUNCATION_DIRECTION_LEFT);
  ASSERT_TRUE(Rerank(request).ok());
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kLongestFirst);
  EXPECT_TRUE(engine_.last_request().pair_options.truncate_left);
}

TEST_F(TeiTest, EmptyInputsAreInvalid) {
  EXPECT_EQ(Rerank(Texts({})).error_code(), StatusCode::INVALID_ARGUMENT);
  tei::v1::RerankRequest request = Texts({"a", ""});
  EXPECT_TRUE(Rerank(request).ok());  // one empty side is fine
  request.clear_query();
  const grpc::Status status = Rerank(request);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("`inputs` cannot be empty"));
  EXPECT_EQ(RerankStream({}).error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(TeiTest, StreamRanksAllItsTexts) {
  tei::v1::RerankStreamRequest first = Streamed("a");
  first.set_raw_scores(true);
  first.set_return_text(true);
  ASSERT_TRUE(RerankStream({first, Streamed("bbb"), Streamed("cc", /*truncate=*/true)}).ok());
  EXPECT_THAT(Order(), ElementsAre(1, 2, 0));
  EXPECT_FLOAT_EQ(ranks_.ranks(0).score(), 0.3f);
  EXPECT_EQ(ranks_.ranks(1).text(), "cc");
  EXPECT_EQ(ranks_.metadata().compute_tokens(), 4u + 6u + 5u);
  EXPECT_EQ(Trailer(*context_, "x-compute-tokens"), "15");
  EXPECT_EQ(engine_.admitted(), 2);  // one request for each way of truncating
}

// As in text-embeddings-inference: the first message says what the reply is like, each one how its own text
// is cut.
TEST_F(TeiTest, StreamTakesScoresAndTextsFromItsFirstMessageAndTruncationFromEach) {
  tei::v1::RerankStreamRequest other = Streamed("bbb", /*truncate=*/true);
  other.set_query("another query");
  other.set_raw_scores(true);
  other.set_return_text(true);
  other.set_truncation_direction(tei::v1::TRUNCATION_DIRECTION_LEFT);
  ASSERT_TRUE(RerankStream({Streamed("a"), other}).ok());
  EXPECT_THAT(Order(), ElementsAre(1, 0));
  EXPECT_FLOAT_EQ(ranks_.ranks(0).score(), Sigmoid(0.3f));
  EXPECT_FALSE(ranks_.ranks(0).has_text());
  EXPECT_EQ(engine_.last_request().queries.front(), "another query");
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kLongestFirst);
  EXPECT_TRUE(engine_.last_request().pair_options.truncate_left);
  EXPECT_EQ(engine_.admitted(), 2);

  ranks_.Clear();
  ASSERT_TRUE(RerankStream({other, Streamed("a")}).ok());
  EXPECT_FLOAT_EQ(ranks_.ranks(0).score(), 0.3f);
  EXPECT_EQ(ranks_.ranks(1).text(), "a");
}

TEST_F(TeiTest, MetadataChoosesTheModel) {
  const auto rerank = [this](const std::string& model) {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->AddMetadata("x-model", model);
    return rerank_->Rerank(context_.get(), Texts({"a"}), &ranks_);
  };
  ASSERT_TRUE(rerank("fake-model").ok());
  EXPECT_EQ(engine_.last_request().model, "fake-model");
  const grpc::Status unknown = rerank("other");
  EXPECT_EQ(unknown.error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.error_message(), HasSubstr("no model 'other'"));
  EXPECT_THAT(unknown.error_message(), HasSubstr("fake-model"));
  grpc::ClientContext context;
  context.AddMetadata("x-model", "other");
  auto stream = rerank_->RerankStream(&context, &ranks_);
  stream->WritesDone();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(engine_.admitted(), 1);
}

TEST_F(TeiTest, StreamTakesAsManyTextsAsARequest) {
  ASSERT_TRUE(RerankStream(std::vector<tei::v1::RerankStreamRequest>(100, Streamed("a"))).ok());
  const grpc::Status status = RerankStream(std::vector<tei::v1::RerankStreamRequest>(101, Streamed("a")));
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("more than 100 texts"));
  const grpc::Status bytes =
      RerankStream({Streamed(std::string(200'000, 'x')), Streamed(std::string(200'000, 'x'))});
  EXPECT_THAT(bytes.error_message(), HasSubstr("more than 300000 bytes"));
}

TEST_F(TeiTest, StreamOfAClientThatLeavesIsCancelled) {
  engine_.Hold();
  grpc::ClientContext context;
  auto stream = rerank_->RerankStream(&context, &ranks_);
  ASSERT_TRUE(stream->Write(Streamed("a")));
  stream->WritesDone();
  while (engine_.admitted() == 0) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  while (engine_.cancelled() == 0) std::this_thread::yield();
}

TEST_F(TeiTest, PredictWantsPairs) {
  grpc::ClientContext context;
  tei::v1::PredictRequest single;
  single.set_inputs("text");
  tei::v1::PredictResponse reply;
  const grpc::Status status = predict_->Predict(&context, single, &reply);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("scores (query, document) pairs"));
}

TEST_F(TeiTwoLabelsTest, PredictPairGivesEveryLabelBestFirst) {
  grpc::ClientContext context;
  tei::v1::PredictResponse reply;
  ASSERT_TRUE(predict_->PredictPair(&context, Pair("q", "abc"), &reply).ok());
  ASSERT_EQ(reply.predictions_size(), 2);
  EXPECT_EQ(reply.predictions(0).label(), "LABEL_1");
  EXPECT_FLOAT_EQ(reply.predictions(0).score(), Sigmoid(1.0f));
  EXPECT_EQ(reply.predictions(1).label(), "LABEL_0");
  EXPECT_EQ(reply.metadata().compute_tokens(), 6u);
}

TEST_F(TeiTest, PredictStreamAnswersInOrderWhateverItsLength) {
  std::vector<tei::v1::PredictPairRequest> requests;
  for (int i = 0; i < 500; ++i) {
    requests.push_back(Pair("q", std::string(static_cast<size_t>(i % 30), 'x')));
    requests.back().set_raw_scores(true);
  }
  ASSERT_TRUE(PredictStream(requests).ok());
  ASSERT_EQ(predictions_.size(), 500u);
  for (size_t i = 0; i < 500; ++i)
    EXPECT_FLOAT_EQ(predictions_[i].predictions(0).score(), static_cast<float>(i % 30) / 10);
}

TEST_F(TeiTest, PredictStreamEndsWithTheFirstFailureAfterTheRepliesBeforeIt) {
  tei::v1::PredictPairRequest single;
  single.add_inputs("alone");
  const grpc::Status status = PredictStream({Pair("q", "a"), Pair("q", "b"), single, Pair("q", "c")});
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("1 texts"));
  EXPECT_EQ(predictions_.size(), 2u);
}

TEST_F(TeiTest, PredictStreamOfAClientThatLeavesIsCancelled) {
  engine_.Hold();
  grpc::ClientContext context;
  auto stream = predict_->PredictPairStream(&context);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream->Write(Pair("q", "a")));
  while (engine_.admitted() < 3) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  while (engine_.cancelled() < 3) std::this_thread::yield();
}

TEST_F(TeiTest, TokenizeGivesTextsAndOffsets) {
  tei::v1::EncodeRequest request;
  request.set_inputs("ab");
  request.set_add_special_tokens(true);
  tei::v1::EncodeResponse reply;
  grpc::ClientContext context;
  ASSERT_TRUE(tokenize_->Tokenize(&context, request, &reply).ok());
  ASSERT_EQ(reply.tokens_size(), 4);
  EXPECT_EQ(reply.tokens(0).text(), "[CLS]");
  EXPECT_TRUE(reply.tokens(0).special());
  EXPECT_FALSE(reply.tokens(0).has_start());
  EXPECT_EQ(reply.tokens(2).text(), "b");
  EXPECT_EQ(reply.tokens(2).start(), 1u);
  EXPECT_EQ(reply.tokens(2).stop(), 2u);
}

TEST_F(TeiTest, TokenizeStreamAnswersEveryText) {
  grpc::ClientContext context;
  auto stream = tokenize_->TokenizeStream(&context);
  tei::v1::EncodeRequest request;
  tei::v1::EncodeResponse reply;
  for (const char* text : {"a", "bb"}) {
    request.set_inputs(text);
    ASSERT_TRUE(stream->Write(request));
    ASSERT_TRUE(stream->Read(&reply));
    EXPECT_EQ(reply.tokens_size(), static_cast<int>(std::string(text).size()));
  }
  request.set_prompt_name("query");
  ASSERT_TRUE(stream->Write(request));
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_THAT(stream->Finish().error_message(), HasSubstr("prompt_name 'query'"));
}

}  // namespace
}  // namespace rerankd::serving
