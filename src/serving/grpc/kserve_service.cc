#include "serving/grpc/kserve_service.h"

#include <open_inference.grpc.pb.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serving/grpc/unary_call.h"
#include "serving/kserve_model.h"

namespace rerankd::serving {
namespace {

using inference::InferParameter;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Bytes = grpc::ByteBuffer;

struct LiveMethod {
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ServerLive", "grpc:ServerLive",
                                         /*open=*/true};
  using Request = inference::ServerLiveRequest;
  using Reply = inference::ServerLiveResponse;

  Result<Reply> Answer(const GrpcCall&, const Request&) const {
    Reply reply;
    reply.set_live(true);
    return reply;
  }
};

struct ReadyMethod {
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ServerReady", "grpc:ServerReady",
                                         /*open=*/true};
  using Request = inference::ServerReadyRequest;
  using Reply = inference::ServerReadyResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request&) const {
    Reply reply;
    reply.set_ready(call.service().Ready().ok());
    return reply;
  }
};

struct ModelReadyMethod {
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ModelReady", "grpc:ModelReady",
                                         /*open=*/true};
  using Request = inference::ModelReadyRequest;
  using Reply = inference::ModelReadyResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request& request) const {
    Reply reply;
    const Result<const ModelInfo*> model =
        FindKserveModel(call.service().engine(), request.name(), request.version());
    reply.set_ready(model.ok() && call.service().Ready(*model).ok());
    return reply;
  }
};

struct ServerMetadataMethod {
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ServerMetadata",
                                         "grpc:ServerMetadata"};
  using Request = inference::ServerMetadataRequest;
  using Reply = inference::ServerMetadataResponse;

  Result<Reply> Answer(const GrpcCall&, const Request&) const {
    Reply reply;
    reply.set_name("rerankd");
    reply.set_version(RERANKD_VERSION);
    return reply;
  }
};

struct ModelMetadataMethod {
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ModelMetadata",
                                         "grpc:ModelMetadata"};
  using Request = inference::ModelMetadataRequest;
  using Reply = inference::ModelMetadataResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request& request) const {
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model,
                             FindKserveModel(call.service().engine(), request.name(), request.version()));
    Reply reply;
    reply.set_name(model->name);
    reply.set_platform(std::string(kKservePlatform));
    for (KserveTensor& tensor : KserveInputs()) Fill(std::move(tensor), reply.add_inputs());
    for (KserveTensor& tensor : KserveOutputs(model->num_labels))
      Fill(std::move(tensor), reply.add_outputs());
    return reply;
  }

  static void Fill(KserveTensor tensor, Reply::TensorMetadata* out) {
    out->set_name(std::move(tensor.name));
    out->set_datatype(std::move(tensor.datatype));
    out->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  }
};

KserveValue ParameterValue(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return parameter.bool_param();
    case InferParameter::kInt64Param:
      return int64_t{parameter.int64_param()};
    case InferParameter::kUint64Param:
      return static_cast<int64_t>(parameter.uint64_param());
    case InferParameter::kDoubleParam:
      return parameter.double_param();
    default:
      return parameter.string_param();
  }
}

// Adds the elements of one output to `response`, raw or typed.
class OutputWriter {
 public:
  OutputWriter(bool raw, ModelInferResponse* response) : raw_(raw), response_(response) {}

  void Write(const KserveOutput& output) {
    tensor_ = response_->add_outputs();
    tensor_->set_name(output.tensor.name);
    tensor_->set_datatype(output.tensor.datatype);
    tensor_->mutable_shape()->Add(output.tensor.shape.begin(), output.tensor.shape.end());
    if (raw_) {
      response_->add_raw_output_contents(std::string(output.raw()));
    } else {
      std::visit([this](const auto& values) { Add(values); }, output.values);
    }
  }

 private:
  void Add(const std::vector<float>& values) {
    tensor_->mutable_contents()->mutable_fp32_contents()->Add(values.begin(), values.end());
  }
  void Add(const std::vector<int32_t>& values) {
    tensor_->mutable_contents()->mutable_int_contents()->Add(values.begin(), values.end());
  }
  void Add(const std::vector<uint8_t>& values) {
    tensor_->mutable_contents()->mutable_bool_contents()->Add(values.begin(), values.end());
  }

  const bool raw_;
  ModelInferResponse* response_;
  ModelInferResponse::InferOutputTensor* tensor_ = nullptr;
};

class InferMethod {
 public:
  static constexpr GrpcMethod kMethod = {"inference.GRPCInferenceService", "ModelInfer", "grpc:ModelInfer"};
  using Request = ModelInferRequest;
  using Reply = ModelInferResponse;

  Result<ScoreRequest> Read(const GrpcCall& grpc, Request message) {
    RERANKD_ASSIGN_OR_RETURN(
        const ModelInfo* model,
        FindKserveModel(grpc.service().engine(), message.model_name(), message.model_version()));
    call_.emplace(*model);
    id_ = message.id();
    raw_ = message.raw_input_contents_size() > 0;
    if (raw_ && message.raw_input_contents_size() != message.inputs_size())
      return InvalidArgument(std::to_string(message.raw_input_contents_size()) + " raw contents for " +
                             std::to_string(message.inputs_size()) + " inputs: send one an input");
    for (const auto& [name, parameter] : message.parameters())
      RERANKD_RETURN_IF_ERROR(SetKserveParameter(name, ParameterValue(parameter), &*call_));
    for (int i = 0; i < message.inputs_size(); ++i) RERANKD_RETURN_IF_ERROR(ReadInput(i, &message));
    for (const auto& output : message.outputs()) call_->outputs.push_back(output.name());
    return TakeScoreRequest(&*call_);
  }

  Result<Reply> Write(const Answer& answer) const {
    RERANKD_ASSIGN_OR_RETURN(const auto outputs, MakeKserveOutputs(*call_, answer.result));
    Reply reply;
    reply.set_model_name(call_->model->name);
    reply.set_id(id_);
    OutputWriter writer(raw_, &reply);
    for (const KserveOutput& output : outputs) writer.Write(output);
    return reply;
  }

 private:
  Status ReadInput(int i, Request* message) {
    auto* input = message->mutable_inputs(i);
    std::vector<std::string> elements;
    if (raw_) {
      if (input->has_contents())
        return InvalidArgument("input `" + input->name() + "` has both contents and raw contents");
      RERANKD_ASSIGN_OR_RETURN(elements, SplitKserveBytes(input->name(), message->raw_input_contents(i)));
    } else {
      auto* contents = input->mutable_contents()->mutable_bytes_contents();
      elements.assign(std::make_move_iterator(contents->begin()), std::make_move_iterator(contents->end()));
    }
    const KserveTensor tensor = {
        input->name(), input->datatype(), {input->shape().begin(), input->shape().end()}};
    return SetKserveInput(tensor, std::move(elements), &*call_);
  }

  std::string id_;
  bool raw_ = false;                // the reply comes in the form of the request
  std::optional<KserveCall> call_;  // once the model is known
};

using Generated = inference::GRPCInferenceService;
class KserveService final
    : public Generated::WithRawCallbackMethod_ServerLive<
          Generated::WithRawCallbackMethod_ServerReady<Generated::WithRawCallbackMethod_ModelReady<
              Generated::WithRawCallbackMethod_ServerMetadata<Generated::WithRawCallbackMethod_ModelMetadata<
                  Generated::WithRawCallbackMethod_ModelInfer<Generated::Service>>>>>> {
 public:
  explicit KserveService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context, const Bytes* request,
                                       Bytes* reply) override {
    return AnswerNow<LiveMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context, const Bytes* request,
                                        Bytes* reply) override {
    return AnswerNow<ReadyMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context, const Bytes* request,
                                       Bytes* reply) override {
    return AnswerNow<ModelReadyMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context, const Bytes* request,
                                           Bytes* reply) override {
    return AnswerNow<ServerMetadataMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context, const Bytes* request,
                                          Bytes* reply) override {
    return AnswerNow<ModelMetadataMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context, const Bytes* request,
                                       Bytes* reply) override {
    return Score<InferMethod>(backend_, context, request, reply);
  }

 private:
  const GrpcBackend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeKserveService(const GrpcBackend& backend) {
  return std::make_unique<KserveService>(backend);
}

}  // namespace rerankd::serving
