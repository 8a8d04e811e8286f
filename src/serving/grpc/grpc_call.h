// What every call of the gRPC server goes through, whatever its service: who calls, until when, what the
// metadata of the reply says, its line in the access log.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/cancel.h"
#include "serving/access_log.h"
#include "serving/byte_budget.h"
#include "serving/caller.h"
#include "serving/grpc/grpc_status.h"
#include "serving/grpc/message_shape.h"
#include "serving/score_service.h"
#include "serving/security.h"

namespace rerankd::serving {

// What the services share. Everything outlives the server.
struct GrpcBackend {
  ScoreService& service;
  const Security& security;
  AccessLog& log;
  std::shared_ptr<ByteBudget> held = std::make_shared<ByteBudget>(INT64_MAX);  // by calls and HTTP requests
};

// All names are literals.
struct GrpcMethod {
  std::string_view service, name;  // "tei.v1.Rerank", "Rerank"
  std::string_view route;          // label of the metrics
  bool open = false;               // needs no API key
};

// One call, from its start until its status is known. The reactor that owns it calls one method at a time.
class GrpcCall {
 public:
  GrpcCall(const GrpcBackend& backend, const GrpcMethod& method, grpc::CallbackServerContext& context);

  // UNAUTHENTICATED where the server has keys and `authorization` carries none of them.
  grpc::Status Authenticate();
  // The model that metadata `x-model` names, by name or alias; the default one without it. kNotFound lists
  // what is there.
  Result<const ModelInfo*> Model() const;
  // Whose the request is, until when, and the flag that ends it.
  void Attribute(ScoreRequest* request) const;
  Status Submit(ScoreRequest request, Answered done) const;
  // Counts a request that never reaches the engine.
  Status Refuse(Status status) const;

  // A message of the client, which the call holds from now on. kResourceExhausted: it may not.
  Status TakeMessage(size_t bytes) {
    record_.request_bytes += static_cast<int64_t>(bytes);
    return held_.Grow(static_cast<int64_t>(bytes));
  }
  // Holds `bytes` of messages less.
  void DropMessage(size_t bytes) {
    held_.Set(std::max<int64_t>(held_.bytes() - static_cast<int64_t>(bytes), 0));
  }
  void AddReplyBytes(size_t bytes) { record_.reply_bytes += static_cast<int64_t>(bytes); }
  // The timings of a scored reply, as metadata and for the log. Once, before the first reply is written.
  void AddAnswer(const Answer& answer);
  // The same for a stream, which has many: for the log.
  void SumAnswer(const Answer& answer);
  // gRPC's form of a failure, with advice on when to come back.
  grpc::Status Fail(const Status& status);
  // Writes the line of the access log. Last.
  void Log(const grpc::Status& status);

  void Cancel() const { cancel_.Cancel(); }
  ScoreService& service() const { return backend_.service; }

 private:
  std::string_view Metadata(const char* key) const;
  void AddTrailer(const Headers& headers);

  const GrpcBackend& backend_;
  const GrpcMethod& method_;
  grpc::CallbackServerContext& context_;
  const TimePoint started_;
  const CancelFlag cancel_;
  Caller caller_;
  AccessRecord record_;
  ByteBudget::Share held_;
};

// What the bytes of a message say. The generated handlers answer UNIMPLEMENTED to bytes that do not parse;
// this one says what is wrong.
template <typename Message>
Result<Message> ParseMessage(const grpc::ByteBuffer& bytes) {
  RERANKD_RETURN_IF_ERROR(CheckShape(bytes, *Message::descriptor()));
  Message message;
  grpc::ByteBuffer copy = bytes;  // shares the slices
  if (!grpc::SerializationTraits<Message>::Deserialize(&copy, &message).ok())
    return InvalidArgument("the message is no " + message.GetDescriptor()->full_name() +
                           "; its strings must be UTF-8");
  return message;
}

template <typename Message>
grpc::Status WriteMessage(const Message& message, grpc::ByteBuffer* bytes) {
  bool own_buffer = false;
  return grpc::SerializationTraits<Message>::Serialize(message, bytes, &own_buffer);
}

}  // namespace rerankd::serving
