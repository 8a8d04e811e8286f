// Unary calls over raw bytes, made of a `Method`: what one message asks for and how its reply is written.
//
//   struct SomeMethod {
//     static constexpr GrpcMethod kMethod = {...};
//     using Request = ...;
//     using Reply = ...;
//     Result<ScoreRequest> Read(const GrpcCall& call, Request message);    // scoring: once, then
//     Result<Reply> Write(const Answer& answer);                           //          once
//     Result<Reply> Answer(const GrpcCall& call, const Request& message);  // the others
//   };
#pragma once

#include <utility>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

// A call that is scored. Deletes itself when gRPC is done with it, which is after the completion has called
// Finish.
template <typename Method>
class ScoringCall final : public grpc::ServerUnaryReactor {
 public:
  ScoringCall(const GrpcBackend& backend, grpc::CallbackServerContext& context, grpc::ByteBuffer* reply)
      : call_(backend, Method::kMethod, context), reply_(reply) {}

  void Start(const grpc::ByteBuffer& bytes) {
    if (grpc::Status known = call_.Authenticate(); !known.ok()) return End(std::move(known));
    if (const Status held = call_.TakeMessage(bytes.Length()); !held.ok())
      return End(call_.Fail(call_.Refuse(held)));
    Result<ScoreRequest> request = Read(bytes);
    if (!request.ok()) return End(call_.Fail(call_.Refuse(request.status())));
    call_.Attribute(&*request);
    const Status admitted =
        call_.Submit(std::move(*request), [this](Result<Answer> answer) { Complete(answer); });
    if (!admitted.ok()) End(call_.Fail(admitted));
  }

  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  Result<ScoreRequest> Read(const grpc::ByteBuffer& bytes) {
    RERANKD_ASSIGN_OR_RETURN(auto message, ParseMessage<typename Method::Request>(bytes));
    return method_.Read(call_, std::move(message));
  }

  void Complete(const Result<Answer>& answer) {
    if (!answer.ok()) return End(call_.Fail(answer.status()));
    const Result<typename Method::Reply> message = method_.Write(*answer);
    if (!message.ok()) return End(call_.Fail(call_.Refuse(message.status())));
    call_.AddAnswer(*answer);
    grpc::Status status = WriteMessage(*message, reply_);
    call_.AddReplyBytes(reply_->Length());
    End(std::move(status));
  }

  void End(grpc::Status status) {
    call_.Log(status);
    Finish(std::move(status));
  }

  GrpcCall call_;
  grpc::ByteBuffer* reply_;
  Method method_;
};

template <typename Method>
grpc::ServerUnaryReactor* Score(const GrpcBackend& backend, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  auto* call = new ScoringCall<Method>(backend, *context, reply);
  call->Start(*request);
  return call;
}

template <typename Method>
grpc::Status AnswerInto(GrpcCall* call, const grpc::ByteBuffer& request, grpc::ByteBuffer* reply) {
  if (grpc::Status known = call->Authenticate(); !known.ok()) return known;
  if (const Status held = call->TakeMessage(request.Length()); !held.ok())
    return call->Fail(call->Refuse(held));
  const auto message = ParseMessage<typename Method::Request>(request);
  if (!message.ok()) return call->Fail(call->Refuse(message.status()));
  const Result<typename Method::Reply> answer = Method().Answer(*call, *message);
  if (!answer.ok()) return call->Fail(call->Refuse(answer.status()));
  grpc::Status status = WriteMessage(*answer, reply);
  call->AddReplyBytes(reply->Length());
  return status;
}

// A call that is answered at once.
template <typename Method>
grpc::ServerUnaryReactor* AnswerNow(const GrpcBackend& backend, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  GrpcCall call(backend, Method::kMethod, *context);
  grpc::Status status = AnswerInto<Method>(&call, *request, reply);
  call.Log(status);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(std::move(status));
  return reactor;
}

}  // namespace rerankd::serving
