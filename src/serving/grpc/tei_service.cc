#include "serving/grpc/tei_service.h"

#include <tei.grpc.pb.h>

#include <string>
#include <utility>
#include <vector>

#include "core/scoring.h"
#include "serving/code_points.h"
#include "serving/grpc/ordered_stream.h"
#include "serving/grpc/tei_messages.h"
#include "serving/grpc/unary_call.h"
#include "serving/show_tokens.h"

namespace rerankd::serving {
namespace {

using Bytes = grpc::ByteBuffer;
using ByteStream = grpc::ServerBidiReactor<Bytes, Bytes>;

struct InfoMethod {
  static constexpr GrpcMethod kMethod = {"tei.v1.Info", "Info", "grpc:Info"};
  using Request = tei::v1::InfoRequest;
  using Reply = tei::v1::InfoResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request&) const {
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, call.Model());
    return TeiInfo(call.service(), *model);
  }
};

Status NoPair(int inputs) {
  return InvalidArgument("`inputs` has " + std::to_string(inputs) +
                         " texts: this model scores (query, document) pairs, send 2");
}

// What both forms of Predict share: one pair in, every label out.
class PredictPair {
 public:
  template <typename Message>
  Result<ScoreRequest> Read(const GrpcCall& call, const Message& options, std::string query,
                            std::string document) {
    RERANKD_ASSIGN_OR_RETURN(model_, call.Model());
    raw_scores_ = options.raw_scores();
    ScoreRequest request = ScoreRequest::ForQuery(std::move(query), {std::move(document)});
    request.model = model_->name;
    SetTruncation(options.truncate(), options.truncation_direction(), &request);
    return request;
  }

  Result<tei::v1::PredictResponse> Write(const Answer& answer) const {
    std::vector<float> scores = answer.result.logits;
    const Activation activation = model_->num_labels == 1 ? Activation::kSigmoid : Activation::kSoftmax;
    if (!raw_scores_) Activate(activation, model_->num_labels, scores);
    tei::v1::PredictResponse response;
    for (const int label : RankDescending(scores, 0)) {
      tei::v1::Prediction* prediction = response.add_predictions();
      prediction->set_score(scores[static_cast<size_t>(label)]);
      prediction->set_label(Label(label));
    }
    FillMetadata(answer, response.mutable_metadata());
    return response;
  }

 private:
  std::string Label(int label) const {
    const auto l = static_cast<size_t>(label);
    return l < model_->labels.size() ? model_->labels[l] : "LABEL_" + std::to_string(label);
  }

  const ModelInfo* model_ = nullptr;  // once a message is read
  bool raw_scores_ = false;
};

// kStream only names the method.
template <bool kStream>
struct PredictPairMethod : PredictPair {
  static constexpr GrpcMethod kMethod = {"tei.v1.Predict", kStream ? "PredictPairStream" : "PredictPair",
                                         kStream ? "grpc:PredictPairStream" : "grpc:PredictPair"};
  using Request = tei::v1::PredictPairRequest;
  using Reply = tei::v1::PredictResponse;

  Result<ScoreRequest> Read(const GrpcCall& call, Request message) {
    if (message.inputs_size() != 2) return NoPair(message.inputs_size());
    return PredictPair::Read(call, message, std::move(*message.mutable_inputs(0)),
                             std::move(*message.mutable_inputs(1)));
  }
};

template <bool kStream>
struct PredictMethod {
  static constexpr GrpcMethod kMethod = {"tei.v1.Predict", kStream ? "PredictStream" : "Predict",
                                         kStream ? "grpc:PredictStream" : "grpc:Predict"};
  using Request = tei::v1::PredictRequest;
  using Reply = tei::v1::PredictResponse;

  Result<Reply> Answer(const GrpcCall&, const Request&) const { return NoPair(1); }
};

template <bool kStream>
struct TokenizeMethod {
  static constexpr GrpcMethod kMethod = {"tei.v1.Tokenize", kStream ? "TokenizeStream" : "Tokenize",
                                         kStream ? "grpc:TokenizeStream" : "grpc:Tokenize"};
  using Request = tei::v1::EncodeRequest;
  using Reply = tei::v1::EncodeResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request& message) const {
    if (message.has_prompt_name())
      return InvalidArgument("prompt_name '" + message.prompt_name() + "': rerankers have no prompts");
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, call.Model());
    RERANKD_ASSIGN_OR_RETURN(const auto tokens, ShowTokens(*model->tokenizer, message.inputs()));
    Reply reply;
    CodePointCutter text(message.inputs());
    for (const DisplayToken& token : tokens)
      if (message.add_special_tokens() || token.begin != token.end) Fill(token, &text, reply.add_tokens());
    return reply;
  }

  static void Fill(const DisplayToken& token, CodePointCutter* text, tei::v1::SimpleToken* out) {
    out->set_id(static_cast<uint32_t>(token.id));
    out->set_special(token.begin == token.end);
    if (out->special()) {
      out->set_text(token.token);
      return;
    }
    out->set_text(std::string(text->Cut(token.begin, token.end)));
    out->set_start(static_cast<uint32_t>(token.begin));
    out->set_stop(static_cast<uint32_t>(token.end));
  }
};

class InfoService final : public tei::v1::Info::WithRawCallbackMethod_Info<tei::v1::Info::Service> {
 public:
  explicit InfoService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context, const Bytes* request,
                                 Bytes* reply) override {
    return AnswerNow<InfoMethod>(backend_, context, request, reply);
  }

 private:
  const GrpcBackend& backend_;
};

using GeneratedPredict = tei::v1::Predict;
class PredictService final
    : public GeneratedPredict::WithRawCallbackMethod_Predict<
          GeneratedPredict::WithRawCallbackMethod_PredictPair<
              GeneratedPredict::WithRawCallbackMethod_PredictStream<
                  GeneratedPredict::WithRawCallbackMethod_PredictPairStream<GeneratedPredict::Service>>>> {
 public:
  explicit PredictService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context, const Bytes* request,
                                    Bytes* reply) override {
    return AnswerNow<PredictMethod<false>>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* PredictPair(grpc::CallbackServerContext* context, const Bytes* request,
                                        Bytes* reply) override {
    return Score<PredictPairMethod<false>>(backend_, context, request, reply);
  }
  ByteStream* PredictStream(grpc::CallbackServerContext* context) override {
    return new OrderedStream<AnswerWork<PredictMethod<true>>>(backend_, *context);
  }
  ByteStream* PredictPairStream(grpc::CallbackServerContext* context) override {
    return new OrderedStream<ScoringWork<PredictPairMethod<true>>>(backend_, *context);
  }

 private:
  const GrpcBackend& backend_;
};

using GeneratedTokenize = tei::v1::Tokenize;
class TokenizeService final
    : public GeneratedTokenize::WithRawCallbackMethod_Tokenize<
          GeneratedTokenize::WithRawCallbackMethod_TokenizeStream<GeneratedTokenize::Service>> {
 public:
  explicit TokenizeService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const Bytes* request,
                                     Bytes* reply) override {
    return AnswerNow<TokenizeMethod<false>>(backend_, context, request, reply);
  }
  ByteStream* TokenizeStream(grpc::CallbackServerContext* context) override {
    return new OrderedStream<AnswerWork<TokenizeMethod<true>>>(backend_, *context);
  }

 private:
  const GrpcBackend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTeiInfo(const GrpcBackend& backend) {
  return std::make_unique<InfoService>(backend);
}
std::unique_ptr<grpc::Service> MakeTeiPredict(const GrpcBackend& backend) {
  return std::make_unique<PredictService>(backend);
}
std::unique_ptr<grpc::Service> MakeTeiTokenize(const GrpcBackend& backend) {
  return std::make_unique<TokenizeService>(backend);
}

}  // namespace rerankd::serving
