// inference.GRPCInferenceService over real sockets on loopback, with the generated C++ client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <open_inference.grpc.pb.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/scoring.h"
#include "serving/grpc/grpc_fixture.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using grpc::StatusCode;
using inference::ModelInferRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Raw(const std::vector<std::string>& elements) {
  std::string raw;
  for (const std::string& element : elements) {
    const auto length = static_cast<uint32_t>(element.size());
    raw.append(reinterpret_cast<const char*>(&length), sizeof(length));
    raw += element;
  }
  return raw;
}

class KserveTest : public GrpcFixture<FakeEngine> {
 protected:
  explicit KserveTest(int labels = 1)
      : GrpcFixture<FakeEngine>(labels), stub_(inference::GRPCInferenceService::NewStub(channel_)) {
    request_.set_model_name("fake-model");
    request_.set_id("call 7");
  }

  void AddInput(const std::string& name, const std::vector<std::string>& elements) {
    auto* input = request_.add_inputs();
    input->set_name(name);
    input->set_datatype("BYTES");
    input->add_shape(static_cast<int64_t>(elements.size()));
    for (const std::string& element : elements) input->mutable_contents()->add_bytes_contents(element);
  }
  void AddRaw(const std::string& name, int64_t elements, std::string raw) {
    auto* input = request_.add_inputs();
    input->set_name(name);
    input->set_datatype("BYTES");
    input->add_shape(elements);
    request_.add_raw_input_contents(std::move(raw));
  }
  grpc::Status Infer() {
    grpc::ClientContext context;
    reply_.Clear();
    return stub_->ModelInfer(&context, request_, &reply_);
  }
  void ExpectInvalid(const std::string& reason) {
    const grpc::Status status = Infer();
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(reason));
  }

  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  ModelInferRequest request_;
  inference::ModelInferResponse reply_;
};

class KserveThreeLabelsTest : public KserveTest {
 protected:
  KserveThreeLabelsTest() : KserveTest(3) {}
};

TEST_F(KserveTest, TellsLivenessReadinessAndItself) {
  grpc::ClientContext a, b, c, d, e;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub_->ServerLive(&a, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub_->ServerReady(&b, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ServerMetadataResponse metadata;
  ASSERT_TRUE(stub_->ServerMetadata(&c, {}, &metadata).ok());
  EXPECT_EQ(metadata.name(), "rerankd");
  inference::ModelReadyRequest model;
  model.set_name("other");
  inference::ModelReadyResponse model_ready;
  ASSERT_TRUE(stub_->ModelReady(&d, model, &model_ready).ok());
  EXPECT_FALSE(model_ready.ready());
  service_.Drain();
  ASSERT_TRUE(stub_->ServerReady(&e, {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
}

TEST_F(KserveThreeLabelsTest, DescribesItsTensors) {
  grpc::ClientContext context;
  inference::ModelMetadataRequest request;
  request.set_name("fake-model");
  inference::ModelMetadataResponse reply;
  ASSERT_TRUE(stub_->ModelMetadata(&context, request, &reply).ok());
  ASSERT_EQ(reply.inputs_size(), 2);
  EXPECT_EQ(reply.inputs(1).name(), "texts");
  EXPECT_EQ(reply.inputs(1).datatype(), "BYTES");
  EXPECT_EQ(reply.outputs(0).name(), "scores");
  EXPECT_THAT(reply.outputs(0).shape(), ElementsAre(-1, 3));
}

TEST_F(KserveTest, TypedContentsGiveTypedRawLogitsInInputOrder) {
  AddInput("query", {"q"});
  AddInput("texts", {"aaa", "", std::string(600, 'x')});
  ASSERT_TRUE(Infer().ok());
  EXPECT_EQ(reply_.model_name(), "fake-model");
  EXPECT_EQ(reply_.id(), "call 7");
  ASSERT_EQ(reply_.outputs_size(), 3);
  EXPECT_EQ(reply_.outputs(0).name(), "scores");
  EXPECT_EQ(reply_.outputs(0).datatype(), "FP32");
  EXPECT_THAT(reply_.outputs(0).shape(), ElementsAre(3));
  EXPECT_THAT(reply_.outputs(0).contents().fp32_contents(), ElementsAre(0.3f, 0, 60));
  EXPECT_THAT(reply_.outputs(1).contents().int_contents(), ElementsAre(6, 3, 512));
  EXPECT_THAT(reply_.outputs(2).contents().bool_contents(), ElementsAre(false, false, true));
  EXPECT_EQ(reply_.raw_output_contents_size(), 0);
}

TEST_F(KserveTest, RawContentsGiveRawContents) {
  AddRaw("texts", 2, Raw({"aaa", "bb"}));
  AddRaw("query", 1, Raw({"q"}));
  request_.add_outputs()->set_name("truncated");
  request_.add_outputs()->set_name("scores");
  ASSERT_TRUE(Infer().ok());
  ASSERT_EQ(reply_.raw_output_contents_size(), 2);
  EXPECT_EQ(reply_.raw_output_contents(0), std::string(2, '\0'));
  float scores[2];
  ASSERT_EQ(reply_.raw_output_contents(1).size(), sizeof(scores));
  std::memcpy(scores, reply_.raw_output_contents(1).data(), sizeof(scores));
  EXPECT_THAT(scores, ElementsAre(0.3f, 0.2f));
  EXPECT_FALSE(reply_.outputs(1).has_contents());
}

TEST_F(KserveTest, ActivationAndTruncationAreParameters) {
  AddInput("query", {"q"});
  AddInput("texts", {"aaa"});
  (*request_.mutable_parameters())["activation"].set_string_param("sigmoid");
  (*request_.mutable_parameters())["truncate"].set_bool_param(false);
  (*request_.mutable_parameters())["truncation_direction"].set_string_param("left");
  (*request_.mutable_parameters())["priority"].set_int64_param(3);  // unknown: ignored
  ASSERT_TRUE(Infer().ok());
  EXPECT_FLOAT_EQ(reply_.outputs(0).contents().fp32_contents(0), Sigmoid(0.3f));
  EXPECT_EQ(engine_.last_request().pair_options.truncation, Truncation::kError);
  EXPECT_TRUE(engine_.last_request().pair_options.truncate_left);
}

TEST_F(KserveTest, LongTextsAreTreatedAsParametersSay) {
  AddInput("query", {"q"});
  AddInput("texts", {"aaa"});
  (*request_.mutable_parameters())["max_chunks_per_doc"].set_int64_param(3);
  (*request_.mutable_parameters())["window"].set_uint64_param(20);
  ASSERT_TRUE(Infer().ok());
  EXPECT_EQ(engine_.last_request().overflow.policy, Overflow::kMaxWindow);
  EXPECT_EQ(engine_.last_request().overflow.max_windows_per_doc, 3);
  EXPECT_EQ(engine_.last_request().overflow.window, 20);
  (*request_.mutable_parameters())["window"].set_int64_param(-1);
  ExpectInvalid("parameter `window` must be an integer from 0");
}

TEST_F(KserveTest, OneQueryATextIsTaken) {
  AddInput("query", {"q1", "q2"});
  AddInput("texts", {"a", "b"});
  ASSERT_TRUE(Infer().ok());
  EXPECT_THAT(engine_.last_request().queries, ElementsAre("q1", "q2"));
}

TEST_F(KserveThreeLabelsTest, ScoresHaveALabelAxis) {
  AddInput("query", {"q"});
  AddInput("texts", {"aaa", "b"});
  ASSERT_TRUE(Infer().ok());
  EXPECT_THAT(reply_.outputs(0).shape(), ElementsAre(2, 3));
  EXPECT_EQ(reply_.outputs(0).contents().fp32_contents_size(), 6);
}

TEST_F(KserveTest, WrongRequestsAreToldWhatIsWrong) {
  ExpectInvalid("`texts` is missing");
  AddInput("texts", {"a", "b", "c"});
  ExpectInvalid("`query` has 0 elements for 3 texts");
  AddInput("query", {"q", "r"});
  ExpectInvalid("`query` has 2 elements for 3 texts");
  request_.clear_inputs();
  AddInput("documents", {"a"});
  ExpectInvalid("`documents` is not one of query, texts");
  request_.mutable_inputs(0)->set_name("texts");
  request_.mutable_inputs(0)->set_datatype("FP32");
  ExpectInvalid("must be BYTES");
  request_.mutable_inputs(0)->set_datatype("BYTES");
  request_.mutable_inputs(0)->set_shape(0, 2);
  ExpectInvalid("has 1 elements, its shape says [2]");
  request_.clear_inputs();
  AddInput("query", {"q"});
  AddInput("texts", {"\xff"});
  ExpectInvalid("element 0: not UTF-8 at byte 0");
  request_.clear_inputs();
  AddRaw("texts", 1,
         std::string("\x05\x00\x00\x00"
                     "abc",
                     7));
  ExpectInvalid("end within element 0");
  request_.clear_raw_input_contents();
  request_.add_raw_input_contents("");
  request_.add_raw_input_contents("");
  ExpectInvalid("2 raw contents for 1 inputs");
  request_.clear_raw_input_contents();
  request_.clear_inputs();
  AddInput("texts", {"a"});
  AddInput("texts", {"b"});
  ExpectInvalid("`texts` is there twice");
  request_.clear_inputs();
  AddInput("query", {"q"});
  AddInput("texts", {"a"});
  for (int i = 0; i < 2; ++i)
    request_.add_outputs()->set_name("scores");  // 60,000 of them would fill the memory
  ExpectInvalid("`scores` is asked for twice");
}

TEST_F(KserveTest, UnknownModelOrVersionIsNotFound) {
  AddInput("query", {"q"});
  AddInput("texts", {"a"});
  request_.set_model_version("7");
  EXPECT_EQ(Infer().error_code(), StatusCode::NOT_FOUND);
  request_.set_model_name("other");
  EXPECT_EQ(Infer().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(engine_.admitted(), 0);
}

}  // namespace
}  // namespace rerankd::serving
