#include "serving/grpc/grpc_call.h"

#include <chrono>
#include <utility>

#include "serving/request_id.h"

namespace rerankd::serving {

GrpcCall::GrpcCall(const GrpcBackend& backend, const GrpcMethod& method, grpc::CallbackServerContext& context)
    : backend_(backend),
      method_(method),
      context_(context),
      started_(backend.service.Now()),
      held_(*backend.held) {
  record_.request_id = RequestId(Metadata("x-request-id"));
  context_.AddTrailingMetadata("x-request-id", record_.request_id);
}

std::string_view GrpcCall::Metadata(const char* key) const {
  const auto found = context_.client_metadata().find(key);
  if (found == context_.client_metadata().end()) return "";
  return {found->second.data(), found->second.size()};
}

grpc::Status GrpcCall::Authenticate() {
  if (method_.open) return grpc::Status::OK;
  const std::optional<Caller> caller = backend_.security.Authenticate(Metadata("authorization"));
  if (!caller) {
    return {grpc::StatusCode::UNAUTHENTICATED,
            "no valid API key: send metadata `authorization: Bearer KEY` with a key of server.api_key_file"};
  }
  caller_ = *caller;
  return grpc::Status::OK;
}

Result<const ModelInfo*> GrpcCall::Model() const {
  return backend_.service.engine().FindModel(Metadata("x-model"));
}

void GrpcCall::Attribute(ScoreRequest* request) const {
  request->cancel = cancel_;
  request->tenant = caller_.name;
  request->weight = caller_.weight;
  const auto deadline = context_.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return;
  request->deadline = backend_.service.Now() + (deadline - std::chrono::system_clock::now());
}

Status GrpcCall::Submit(ScoreRequest request, Answered done) const {
  return backend_.service.Submit(method_.route, started_, std::move(request), std::move(done));
}

Status GrpcCall::Refuse(Status status) const {
  return backend_.service.Refuse(method_.route, std::move(status));
}

void GrpcCall::AddAnswer(const Answer& answer) {
  // In both places: clients of text-embeddings-inference read the initial metadata.
  const Headers headers = ScoredReplyHeaders(answer);
  for (const auto& [key, value] : headers) context_.AddInitialMetadata(key, value);
  AddTrailer(headers);
  SumAnswer(answer);
}

void GrpcCall::SumAnswer(const Answer& answer) {
  if (!record_.scored) record_.scored.emplace();
  Scored& sum = *record_.scored;
  sum.documents += static_cast<int64_t>(answer.result.tokens.size());
  sum.counts.real += answer.result.counts.real;
  sum.counts.truncated_pairs += answer.result.counts.truncated_pairs;
  sum.timings.queue_ms += answer.result.timings.queue_ms;
  sum.timings.tokenize_ms += answer.result.timings.tokenize_ms;
  sum.timings.inference_ms += answer.result.timings.inference_ms;
}

grpc::Status GrpcCall::Fail(const Status& status) {
  AddTrailer(RetryMetadata(status));
  return ToGrpcStatus(status);
}

void GrpcCall::Log(const grpc::Status& status) {
  if (!backend_.log.on()) return;
  record_.protocol = "grpc";
  record_.method = method_.name;
  record_.route = method_.service;
  record_.status = static_cast<int>(status.error_code());
  record_.traceparent = TraceParent(Metadata("traceparent"));
  record_.caller = caller_.name;
  record_.peer = context_.peer();
  record_.total_ms = ToMs(backend_.service.Now() - started_);
  backend_.log.Write(record_);
}

void GrpcCall::AddTrailer(const Headers& headers) {
  for (const auto& [key, value] : headers) context_.AddTrailingMetadata(key, value);
}

}  // namespace rerankd::serving
