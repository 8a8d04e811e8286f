// A bidirectional stream that gives one reply a message, in their order. Many messages are worked on at once;
// a client that sends faster than it is served is held back by flow control. A failure ends the stream in its
// turn, after the replies of the messages before it.
//
// `Work` begins the work of one message:
//   static constexpr GrpcMethod kMethod;
//   static void Begin(GrpcCall& call, const grpc::ByteBuffer& message, StreamReply done);
// and calls `done` once, at once or later on any thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "serving/grpc/grpc_call.h"

namespace rerankd::serving {

// The reply of one message; the answer that it was made of, if it was scored.
using StreamReply = std::function<void(Result<grpc::ByteBuffer>, const Answer*)>;

template <typename Work>
class OrderedStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  OrderedStream(const GrpcBackend& backend, grpc::CallbackServerContext& context)
      : call_(backend, Work::kMethod, context),
        max_bytes_(static_cast<size_t>(backend.service.settings().server.max_body_bytes)) {
    Step([&] { status_ = call_.Authenticate(); });
  }

  void OnReadDone(bool ok) override {
    if (ok) BeginWork();
    Step([&] {
      reading_ = false;
      half_closed_ = half_closed_ || !ok;
    });
  }
  void OnWriteDone(bool ok) override {
    Step([&] {
      writing_ = false;
      if (!ok) EndWith(grpc::Status::CANCELLED);
    });
  }
  void OnCancel() override {
    call_.Cancel();
    Step([&] { EndWith(grpc::Status::CANCELLED); });
  }
  void OnDone() override { const auto last = std::move(self_); }

 private:
  static constexpr size_t kWindow = 64;  // messages that are worked on at once

  // A message and its reply. Stays where it is while it stands in the deque.
  struct Slot {
    grpc::ByteBuffer message;
    size_t bytes = 0;
    std::optional<Result<grpc::ByteBuffer>> reply;
  };

  // Under the lock, because the call's state is also changed by replies that complete meanwhile; recursive,
  // because some work completes at once.
  void BeginWork() {
    std::lock_guard lock(mutex_);
    Slot* slot = OpenSlot();
    if (Status held = call_.TakeMessage(slot->bytes); !held.ok())
      return Complete(slot, call_.Refuse(std::move(held)), nullptr);
    Work::Begin(call_, slot->message,
                [self = self_, slot](Result<grpc::ByteBuffer> reply, const Answer* answer) {
                  self->Complete(slot, std::move(reply), answer);
                });
  }

  Slot* OpenSlot() {
    Slot& slot = slots_.emplace_back();
    slot.message.Swap(&incoming_);
    slot.bytes = slot.message.Length();
    bytes_ += slot.bytes;
    ++working_;
    return &slot;
  }

  void Complete(Slot* slot, Result<grpc::ByteBuffer> reply, const Answer* answer) {
    Step([&] {
      --working_;
      if (answer != nullptr) call_.SumAnswer(*answer);
      slot->reply = std::move(reply);
      slot->message.Clear();
    });
  }

  void EndWith(const grpc::Status& status) {
    if (status_.ok()) status_ = status;
  }

  // Applies `change`, then does what is due. Finish comes last and without the lock: OnDone may follow at
  // once on another thread.
  template <typename F>
  void Step(F change) {
    {
      std::lock_guard lock(mutex_);
      change();
      if (finished_) return;
      if (status_.ok()) Proceed();
      const bool served = half_closed_ && slots_.empty();
      if (writing_ || working_ > 0 || (status_.ok() && !served)) return;
      finished_ = true;
      call_.Log(status_);
    }
    Finish(status_);
  }

  // Starts the next write and the next read, if they are due.
  void Proceed() {
    if (!writing_ && !slots_.empty() && slots_.front().reply) WriteFirst();
    if (status_.ok() && !reading_ && !half_closed_ && slots_.size() < kWindow && bytes_ <= max_bytes_) {
      reading_ = true;
      StartRead(&incoming_);
    }
  }

  void WriteFirst() {
    Result<grpc::ByteBuffer> reply = std::move(*slots_.front().reply);
    bytes_ -= slots_.front().bytes;
    call_.DropMessage(slots_.front().bytes);
    slots_.pop_front();
    if (!reply.ok()) {
      call_.Cancel();  // the rest is of no use
      return EndWith(call_.Fail(reply.status()));
    }
    outgoing_ = std::move(*reply);
    call_.AddReplyBytes(outgoing_.Length());
    writing_ = true;
    StartWrite(&outgoing_);
  }

  // Until OnDone; replies that are still being handed in keep it longer, for the mutex that they unlock.
  std::shared_ptr<OrderedStream> self_{this};
  std::recursive_mutex mutex_;
  GrpcCall call_;
  const size_t max_bytes_;  // of the messages in the window
  grpc::ByteBuffer incoming_, outgoing_;
  std::deque<Slot> slots_;
  size_t bytes_ = 0;
  int working_ = 0;  // slots whose Work has not called back
  bool reading_ = false, writing_ = false, half_closed_ = false, finished_ = false;
  grpc::Status status_;
};

// Work that is scored; `Method` as in unary_call.h, made anew for every message.
template <typename Method>
struct ScoringWork {
  static constexpr const GrpcMethod& kMethod = Method::kMethod;

  static void Begin(GrpcCall& call, const grpc::ByteBuffer& bytes, StreamReply done) {
    auto method = std::make_shared<Method>();
    auto message = ParseMessage<typename Method::Request>(bytes);
    if (!message.ok()) return done(call.Refuse(message.status()), nullptr);
    Result<ScoreRequest> request = method->Read(call, std::move(*message));
    if (!request.ok()) return done(call.Refuse(request.status()), nullptr);
    call.Attribute(&*request);
    const Status admitted = call.Submit(std::move(*request), [method, done](Result<Answer> answer) {
      if (!answer.ok()) return done(answer.status(), nullptr);
      done(Serialize(method->Write(*answer)), &*answer);
    });
    if (!admitted.ok()) done(admitted, nullptr);
  }

  static Result<grpc::ByteBuffer> Serialize(const Result<typename Method::Reply>& reply) {
    if (!reply.ok()) return reply.status();
    grpc::ByteBuffer bytes;
    if (const grpc::Status status = WriteMessage(*reply, &bytes); !status.ok())
      return Internal("the reply cannot be written: " + status.error_message());
    return bytes;
  }
};

// Work that is answered at once; `Method` as in unary_call.h, made anew for every message.
template <typename Method>
struct AnswerWork {
  static constexpr const GrpcMethod& kMethod = Method::kMethod;

  static void Begin(GrpcCall& call, const grpc::ByteBuffer& bytes, const StreamReply& done) {
    const auto message = ParseMessage<typename Method::Request>(bytes);
    if (!message.ok()) return done(call.Refuse(message.status()), nullptr);
    const auto reply = Method().Answer(call, *message);
    if (!reply.ok()) return done(call.Refuse(reply.status()), nullptr);
    done(ScoringWork<Method>::Serialize(reply), nullptr);
  }
};

}  // namespace rerankd::serving
