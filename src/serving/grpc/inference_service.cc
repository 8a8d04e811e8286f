#include "serving/grpc/inference_service.h"

#include <grpcpp/grpcpp.h>
#include <inference.grpc.pb.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "serving/grpc/grpc_status.h"

namespace rerankd::serving {
namespace {

using inference::InferRequest;
using inference::InferResponse;

constexpr std::string_view kRoute = "grpc:Infer";

int32_t ToInt32(int64_t n) {
  return static_cast<int32_t>(std::min<int64_t>(n, std::numeric_limits<int32_t>::max()));
}

// Moves the texts out of `message`.
ScoreRequest TakePairs(InferRequest* message) {
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(static_cast<size_t>(message->pairs_size()));
  for (inference::QueryDocPair& pair : *message->mutable_pairs())
    pairs.emplace_back(std::move(*pair.mutable_query()), std::move(*pair.mutable_document()));
  return ScoreRequest::ForPairs(std::move(pairs));
}

Result<InferResponse> MakeResponse(const Answer& answer) {
  InferResponse response;
  response.set_num_pairs(ToInt32(static_cast<int64_t>(answer.result.tokens.size())));
  response.set_latency_ms(static_cast<float>(answer.latency_ms));
  response.set_status_code(answer.result.logits.empty() ? 204 : 200);
  RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores, RelevanceScores(answer.result, /*raw=*/false));
  response.mutable_scores()->Add(scores.begin(), scores.end());
  return response;
}

// One call. Deletes itself when gRPC is done with it, which is after the completion has called Finish.
class InferCall final : public grpc::ServerUnaryReactor {
 public:
  InferCall(ScoreService& service, grpc::CallbackServerContext& context, grpc::ByteBuffer* reply)
      : service_(service), context_(context), reply_(reply), started_(service.Now()) {}

  void Start(const grpc::ByteBuffer& bytes) {
    Result<ScoreRequest> request = Parse(bytes);
    if (!request.ok()) return Fail(service_.Refuse(kRoute, request.status()));
    request->deadline = Deadline();
    request->cancel = cancel_;
    const Status admitted =
        service_.Submit(kRoute, started_, std::move(*request), [this](Result<Answer> answer) {
          if (answer.ok()) {
            Succeed(*answer);
          } else {
            Fail(answer.status());
          }
        });
    if (!admitted.ok()) Fail(admitted);
  }

  void OnCancel() override { cancel_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  // The generated handler would answer UNIMPLEMENTED to bytes that do not parse; this one says what is wrong.
  static Result<ScoreRequest> Parse(const grpc::ByteBuffer& bytes) {
    InferRequest message;
    grpc::ByteBuffer copy = bytes;  // shares the slices
    if (!grpc::SerializationTraits<InferRequest>::Deserialize(&copy, &message).ok())
      return InvalidArgument("the message is not an inference.InferRequest; its strings must be UTF-8");
    if (message.pairs_size() == 0) return InvalidArgument("pairs is empty: send at least 1 pair");
    return TakePairs(&message);
  }

  std::optional<TimePoint> Deadline() const {
    const auto deadline = context_.deadline();
    if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
    return service_.Now() + (deadline - std::chrono::system_clock::now());
  }

  void Succeed(const Answer& answer) {
    const Result<InferResponse> response = MakeResponse(answer);
    if (!response.ok()) return Fail(response.status());
    AddTrailer(ScoredReplyHeaders(answer));
    bool own_buffer = false;
    Finish(grpc::SerializationTraits<InferResponse>::Serialize(*response, reply_, &own_buffer));
  }

  void Fail(const Status& status) {
    AddTrailer(RetryMetadata(status));
    Finish(ToGrpcStatus(status));
  }

  void AddTrailer(const Headers& headers) {
    for (const auto& [key, value] : headers) context_.AddTrailingMetadata(key, value);
  }

  ScoreService& service_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer* reply_;
  const TimePoint started_;
  const CancelFlag cancel_;
};

using Generated = inference::InferenceService;
class InferenceService final : public Generated::WithRawCallbackMethod_Infer<
                                   Generated::WithCallbackMethod_GetMetrics<Generated::Service>> {
 public:
  explicit InferenceService(ScoreService& service) : service_(service) {}

  grpc::ServerUnaryReactor* Infer(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* reply) override {
    auto* call = new InferCall(service_, *context, reply);
    call->Start(*request);
    return call;
  }

  grpc::ServerUnaryReactor* GetMetrics(grpc::CallbackServerContext* context, const inference::Empty*,
                                       inference::MetricsResponse* reply) override {
    const MetricsSnapshot metrics = service_.Snapshot();
    reply->set_count(ToInt32(metrics.count));
    reply->set_avg_ms(static_cast<float>(metrics.latency.avg));
    reply->set_p50_ms(static_cast<float>(metrics.latency.p50));
    reply->set_p95_ms(static_cast<float>(metrics.latency.p95));
    reply->set_p99_ms(static_cast<float>(metrics.latency.p99));
    reply->set_throughput_qps(static_cast<float>(metrics.throughput_qps));
    reply->set_query_count(ToInt32(metrics.query_count));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  ScoreService& service_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(ScoreService& service) {
  return std::make_unique<InferenceService>(service);
}

}  // namespace rerankd::serving
