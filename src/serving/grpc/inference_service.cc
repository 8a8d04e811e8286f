#include "serving/grpc/inference_service.h"

#include <inference.grpc.pb.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "serving/grpc/unary_call.h"

namespace rerankd::serving {
namespace {

using inference::InferRequest;
using inference::InferResponse;

int32_t ToInt32(int64_t n) {
  return static_cast<int32_t>(std::min<int64_t>(n, std::numeric_limits<int32_t>::max()));
}

struct InferMethod {
  static constexpr GrpcMethod kMethod = {"inference.InferenceService", "Infer", "grpc:Infer"};
  using Request = InferRequest;
  using Reply = InferResponse;

  Result<ScoreRequest> Read(const GrpcCall& call, Request message) const {
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, call.Model());
    RERANKD_RETURN_IF_ERROR(HasRelevance(model->num_labels));
    if (message.pairs_size() == 0) return InvalidArgument("pairs is empty: send at least 1 pair");
    std::vector<std::pair<std::string, std::string>> pairs;
    pairs.reserve(static_cast<size_t>(message.pairs_size()));
    for (inference::QueryDocPair& pair : *message.mutable_pairs())
      pairs.emplace_back(std::move(*pair.mutable_query()), std::move(*pair.mutable_document()));
    ScoreRequest request = ScoreRequest::ForPairs(std::move(pairs));
    request.model = model->name;
    return request;
  }

  Result<Reply> Write(const Answer& answer) const {
    Reply reply;
    reply.set_num_pairs(ToInt32(static_cast<int64_t>(answer.result.tokens.size())));
    reply.set_latency_ms(static_cast<float>(answer.latency_ms));
    reply.set_status_code(answer.result.logits.empty() ? 204 : 200);
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores, RelevanceScores(answer.result, /*raw=*/false));
    reply.mutable_scores()->Add(scores.begin(), scores.end());
    return reply;
  }
};

struct MetricsMethod {
  static constexpr GrpcMethod kMethod = {"inference.InferenceService", "GetMetrics", "grpc:GetMetrics"};
  using Request = inference::Empty;
  using Reply = inference::MetricsResponse;

  Result<Reply> Answer(const GrpcCall& call, const Request&) const {
    const MetricsSnapshot metrics = call.service().Snapshot();
    Reply reply;
    reply.set_count(ToInt32(metrics.count));
    reply.set_avg_ms(static_cast<float>(metrics.latency.avg));
    reply.set_p50_ms(static_cast<float>(metrics.latency.p50));
    reply.set_p95_ms(static_cast<float>(metrics.latency.p95));
    reply.set_p99_ms(static_cast<float>(metrics.latency.p99));
    reply.set_throughput_qps(static_cast<float>(metrics.throughput_qps));
    reply.set_query_count(ToInt32(metrics.query_count));
    return reply;
  }
};

using Generated = inference::InferenceService;
class InferenceService final : public Generated::WithRawCallbackMethod_Infer<
                                   Generated::WithRawCallbackMethod_GetMetrics<Generated::Service>> {
 public:
  explicit InferenceService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Infer(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* reply) override {
    return Score<InferMethod>(backend_, context, request, reply);
  }
  grpc::ServerUnaryReactor* GetMetrics(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* reply) override {
    return AnswerNow<MetricsMethod>(backend_, context, request, reply);
  }

 private:
  const GrpcBackend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(const GrpcBackend& backend) {
  return std::make_unique<InferenceService>(backend);
}

}  // namespace rerankd::serving
