#include "load/grpc_client.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/async_unary_call.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "base/cpu.h"
#include "base/log.h"
#include "inference.grpc.pb.h"
#include "load/stage_times.h"
#include "open_inference.grpc.pb.h"
#include "tei.grpc.pb.h"

namespace rerankd::load {
namespace {

constexpr int kNoScores = 204;  // status_code of a pipeline without a model

std::string CodeText(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : fmt::format("gRPC status {}", index);
}

Outcome OutcomeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return Outcome::kOk;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Outcome::kRefused;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Outcome::kTimeout;
    case grpc::StatusCode::UNAVAILABLE:
      return Outcome::kUnreachable;
    default:
      return Outcome::kError;
  }
}

// What an unreachable target may need; empty = nothing that is known.
const char* WayOut(const std::string& reason, bool tls) {
  const auto says = [&](const char* words) { return reason.find(words) != std::string::npos; };
  if (tls && says("certificate verify failed")) return " (--ca-file names the authorities to trust)";
  if (tls && says("handshake failed")) return " (a target without TLS is grpc://)";
  if (!tls && (says("Socket closed") || says("SETTINGS"))) return " (a target with TLS is grpcs://)";
  return "";
}

// The library's own lines say what the outcomes say.
void LogGrpc(gpr_log_func_args* args) { Log(LogLevel::kDebug, "grpc", {{"message", args->message}}); }

std::string_view Trailer(const grpc::ClientContext& context, const char* name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(name);
  return it == trailers.end() ? std::string_view() : std::string_view(it->second.data(), it->second.size());
}

void CheckScores(const Work& work, Reply* reply) {
  const auto bad = std::find_if_not(reply->scores.begin(), reply->scores.end(),
                                    [](float score) { return std::isfinite(score); });
  if (reply->scores.size() != static_cast<size_t>(work.pairs)) {
    reply->outcome = Outcome::kWrongCount;
    reply->detail = fmt::format("{} scores for {} pairs", reply->scores.size(), work.pairs);
  } else if (bad != reply->scores.end()) {
    reply->outcome = Outcome::kNotFinite;
    reply->detail = fmt::format("a score is {}", *bad);
  }
}

// inference.InferenceService: how a protocol builds requests and reads replies.
struct ReferenceProtocol {
  using Request = inference::InferRequest;
  using Response = inference::InferResponse;
  using Stub = inference::InferenceService::Stub;

  static std::unique_ptr<Stub> NewStub(const std::shared_ptr<grpc::Channel>& channel) {
    return inference::InferenceService::NewStub(channel);
  }
  static void Build(const GrpcTarget&, const Workload& workload, const Work& work, Request* request) {
    request->mutable_pairs()->Reserve(work.pairs);
    for (int k = 0; k < work.pairs; ++k) {
      inference::QueryDocPair* pair = request->add_pairs();
      pair->set_query(workload.query(work, k));
      pair->set_document(workload.document(work, k));
    }
  }
  static auto Prepare(Stub& stub, grpc::ClientContext* context, const Request& request,
                      grpc::CompletionQueue* queue) {
    return stub.PrepareAsyncInfer(context, request, queue);
  }
  static void Read(const Response& response, const GrpcTarget& target, const Work& work, Reply* reply) {
    if (response.status_code() == kNoScores && target.allow_no_scores) return;
    reply->scores.assign(response.scores().begin(), response.scores().end());
    CheckScores(work, reply);
  }
};

// tei.v1.Rerank.
struct TeiProtocol {
  using Request = tei::v1::RerankRequest;
  using Response = tei::v1::RerankResponse;
  using Stub = tei::v1::Rerank::Stub;

  static std::unique_ptr<Stub> NewStub(const std::shared_ptr<grpc::Channel>& channel) {
    return tei::v1::Rerank::NewStub(channel);
  }
  static void Build(const GrpcTarget&, const Workload& workload, const Work& work, Request* request) {
    request->set_query(workload.query(work, 0));
    for (int k = 0; k < work.pairs; ++k) request->add_texts(workload.document(work, k));
    request->set_truncate(true);
  }
  static auto Prepare(Stub& stub, grpc::ClientContext* context, const Request& request,
                      grpc::CompletionQueue* queue) {
    return stub.PrepareAsyncRerank(context, request, queue);
  }
  static void Read(const Response& response, const GrpcTarget&, const Work& work, Reply* reply) {
    reply->scores.assign(static_cast<size_t>(response.ranks_size()), 0);
    std::vector<bool> seen(reply->scores.size());
    for (const tei::v1::Rank& rank : response.ranks()) {
      if (rank.index() >= seen.size() || seen[rank.index()]) {
        reply->outcome = Outcome::kGarbage;
        reply->detail = fmt::format("index {} twice or above the last document", rank.index());
        return;
      }
      seen[rank.index()] = true;
      reply->scores[rank.index()] = rank.score();
    }
    CheckScores(work, reply);
  }
};

// inference.GRPCInferenceService of the Open Inference Protocol: BYTES query [1] and texts [N], FP32 scores
// [N].
struct KserveProtocol {
  using Request = inference::ModelInferRequest;
  using Response = inference::ModelInferResponse;
  using Stub = inference::GRPCInferenceService::Stub;

  static std::unique_ptr<Stub> NewStub(const std::shared_ptr<grpc::Channel>& channel) {
    return inference::GRPCInferenceService::NewStub(channel);
  }
  static auto* AddInput(const char* name, int64_t size, Request* request) {
    auto* input = request->add_inputs();
    input->set_name(name);
    input->set_datatype("BYTES");
    input->add_shape(size);
    return input->mutable_contents();
  }
  static void Build(const GrpcTarget& target, const Workload& workload, const Work& work, Request* request) {
    request->set_model_name(target.model);
    AddInput("query", 1, request)->add_bytes_contents(workload.query(work, 0));
    auto* texts = AddInput("texts", work.pairs, request);
    for (int k = 0; k < work.pairs; ++k) texts->add_bytes_contents(workload.document(work, k));
  }
  static auto Prepare(Stub& stub, grpc::ClientContext* context, const Request& request,
                      grpc::CompletionQueue* queue) {
    return stub.PrepareAsyncModelInfer(context, request, queue);
  }
  static void Read(const Response& response, const GrpcTarget&, const Work& work, Reply* reply) {
    if (response.raw_output_contents_size() > 0) {
      const std::string& bytes = response.raw_output_contents(0);
      if (bytes.size() % sizeof(float) != 0) {
        reply->outcome = Outcome::kGarbage;
        reply->detail = fmt::format("{} bytes of FP32 scores", bytes.size());
        return;
      }
      reply->scores.resize(bytes.size() / sizeof(float));
      std::memcpy(reply->scores.data(), bytes.data(), reply->scores.size() * sizeof(float));
    } else if (response.outputs_size() > 0) {
      const auto& scores = response.outputs(0).contents().fp32_contents();
      reply->scores.assign(scores.begin(), scores.end());
    }
    CheckScores(work, reply);
  }
};

template <typename Protocol>
class GrpcClient final : public Client {
 public:
  GrpcClient(const GrpcTarget& target, const Workload& workload,
             const std::shared_ptr<grpc::Channel>& channel)
      : target_(target),
        workload_(workload),
        stub_(Protocol::NewStub(channel)),
        receiver_([this] { Receive(); }) {}

  ~GrpcClient() override {
    queue_.Shutdown();
    receiver_.join();
  }

  void Send(const Work& work, Done done) override {
    auto* call = new Call{work, std::move(done), {}, {}, {}, {}, {}};
    call->context.set_deadline(std::chrono::system_clock::now() + FromMs(target_.timeout_ms));
    if (!target_.api_key.empty()) call->context.AddMetadata("authorization", "Bearer " + target_.api_key);
    Protocol::Build(target_, workload_, work, &call->request);
    call->reader = Protocol::Prepare(*stub_, &call->context, call->request, &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->response, &call->status, call);
  }

  void RunUntil(TimePoint when) override {
    std::unique_lock lock(mutex_);
    woken_up_.wait_until(lock, when, [this] { return woken_; });
    woken_ = false;
  }

  void Wake() override {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    woken_up_.notify_one();
  }

 private:
  struct Call {
    Work work;
    Done done;
    grpc::ClientContext context;
    typename Protocol::Request request;
    typename Protocol::Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<typename Protocol::Response>> reader;
  };

  void Receive() {
    SetThreadName("load-replies");
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      Reply reply;
      reply.received = SteadyClock::Get().Now();
      reply.status = static_cast<int>(call->status.error_code());
      reply.outcome = OutcomeOf(call->status.error_code());
      ReadServerTiming(Trailer(call->context, "server-timing"), &reply);
      const double pushback_ms = NonNegative(Trailer(call->context, "grpc-retry-pushback-ms"));
      if (pushback_ms >= 0) reply.retry_after_s = pushback_ms / 1000;
      const std::string& reason = call->status.error_message();
      if (reply.outcome != Outcome::kOk) {
        reply.detail = fmt::format("{}: {}", CodeText(call->status.error_code()), reason);
        if (reply.outcome == Outcome::kUnreachable)
          reply.detail += WayOut(reason, target_.authorities.has_value());
      } else if (ok) {
        Protocol::Read(call->response, target_, call->work, &reply);
      } else {
        reply.outcome = Outcome::kGarbage;
        reply.detail = "the reply is not a message of the protocol";
      }
      call->done(std::move(reply));
    }
  }

  const GrpcTarget target_;
  const Workload workload_;
  const std::unique_ptr<typename Protocol::Stub> stub_;
  grpc::CompletionQueue queue_;
  std::mutex mutex_;  // guards woken_
  std::condition_variable woken_up_;
  bool woken_ = false;
  std::thread receiver_;  // last: uses all above
};

}  // namespace

Result<std::unique_ptr<Client>> MakeGrpcClient(std::string_view protocol, const GrpcTarget& target,
                                               const Workload& workload) {
  static std::once_flag log_is_set;
  std::call_once(log_is_set, [] { gpr_set_log_function(LogGrpc); });
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt("grpc.enable_http_proxy", 0);
  // A request that is sent again hides a failure. Both cost: without them a request takes an eighth less CPU.
  arguments.SetInt("grpc.enable_retries", 0);
  arguments.SetInt("grpc.enable_channelz", 0);
  const auto credentials = target.authorities ? grpc::SslCredentials({*target.authorities, "", ""})
                                              : grpc::InsecureChannelCredentials();
  const auto channel = grpc::CreateCustomChannel(target.address, credentials, arguments);
  std::unique_ptr<Client> client;
  if (protocol == "rerankd")
    client = std::make_unique<GrpcClient<ReferenceProtocol>>(target, workload, channel);
  if (protocol == "tei-grpc") client = std::make_unique<GrpcClient<TeiProtocol>>(target, workload, channel);
  if (protocol == "kserve") client = std::make_unique<GrpcClient<KserveProtocol>>(target, workload, channel);
  if (client != nullptr) return client;
  return InvalidArgument(fmt::format("protocol '{}' is not one over gRPC", protocol));
}

}  // namespace rerankd::load
