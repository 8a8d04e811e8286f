#include "serving/grpc/tei_rerank.h"

#include <tei.grpc.pb.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/scoring.h"
#include "serving/grpc/tei_messages.h"
#include "serving/grpc/unary_call.h"

namespace rerankd::serving {
namespace {

using tei::v1::RerankRequest;
using tei::v1::RerankResponse;
using tei::v1::RerankStreamRequest;

Status NothingToScore() {
  return InvalidArgument("Input validation error: `inputs` cannot be empty: query and text are both empty");
}

// Ranks of all texts, best first. `texts` is empty unless they are to come back.
RerankResponse MakeRanks(const std::vector<float>& scores, std::vector<std::string> texts) {
  RerankResponse response;
  for (const int index : RankDescending(scores, 0)) {
    const auto i = static_cast<size_t>(index);
    tei::v1::Rank* rank = response.add_ranks();
    rank->set_index(static_cast<uint32_t>(index));
    rank->set_score(scores[i]);
    if (!texts.empty()) rank->set_text(std::move(texts[i]));
  }
  return response;
}

struct RerankMethod {
  static constexpr GrpcMethod kMethod = {"tei.v1.Rerank", "Rerank", "grpc:Rerank"};
  using Request = RerankRequest;
  using Reply = RerankResponse;

  Result<ScoreRequest> Read(const GrpcCall& call, Request message) {
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, call.Model());
    RERANKD_RETURN_IF_ERROR(HasRelevance(model->num_labels));
    if (message.texts().empty()) return InvalidArgument("`texts` cannot be empty");
    raw_scores = message.raw_scores();
    std::vector<std::string> documents;
    documents.reserve(static_cast<size_t>(message.texts_size()));
    for (std::string& text : *message.mutable_texts()) {
      if (message.query().empty() && text.empty()) return NothingToScore();
      documents.push_back(std::move(text));
    }
    if (message.return_text()) texts = documents;
    ScoreRequest request = ScoreRequest::ForQuery(std::move(*message.mutable_query()), std::move(documents));
    request.model = model->name;
    SetTruncation(message.truncate(), message.truncation_direction(), &request);
    return request;
  }

  Result<Reply> Write(const Answer& answer) {
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> scores, RelevanceScores(answer.result, raw_scores));
    Reply reply = MakeRanks(scores, std::move(texts));
    FillMetadata(answer, reply.mutable_metadata());
    return reply;
  }

  bool raw_scores = false;
  std::vector<std::string> texts;
};

// The texts of a stream that are truncated alike: one scoring request.
struct Group {
  bool truncate = false;
  tei::v1::TruncationDirection direction = tei::v1::TRUNCATION_DIRECTION_RIGHT;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<size_t> indices;  // in the stream
};

// Everything a stream has sent.
class StreamedTexts {
 public:
  Status Add(RerankStreamRequest message) {
    if (message.query().empty() && message.text().empty()) return NothingToScore();
    if (size_ == 0) {
      raw_scores_ = message.raw_scores();
      return_text_ = message.return_text();
    }
    if (return_text_) texts_.push_back(message.text());
    Group& group = groups_[{message.truncate(), message.truncation_direction()}];
    group.truncate = message.truncate();
    group.direction = message.truncation_direction();
    group.pairs.emplace_back(std::move(*message.mutable_query()), std::move(*message.mutable_text()));
    group.indices.push_back(size_++);
    return {};
  }

  size_t size() const { return size_; }
  bool raw_scores() const { return raw_scores_; }
  std::vector<std::string> TakeTexts() { return std::move(texts_); }
  std::vector<Group> TakeGroups() {
    std::vector<Group> groups;
    for (auto& [options, group] : groups_) groups.push_back(std::move(group));
    return groups;
  }

 private:
  size_t size_ = 0;
  bool raw_scores_ = false, return_text_ = false;
  std::vector<std::string> texts_;
  std::map<std::pair<bool, int>, Group> groups_;  // by truncate, direction
};

constexpr GrpcMethod kRerankStream = {"tei.v1.Rerank", "RerankStream", "grpc:RerankStream"};

// Reads to the end, scores the groups one after the other, answers. Deletes itself. Callbacks never overlap:
// one read at a time, then one completion at a time.
class RerankStreamCall final : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  RerankStreamCall(const GrpcBackend& backend, grpc::CallbackServerContext& context, grpc::ByteBuffer* reply)
      : call_(backend, kRerankStream, context), reply_(reply) {
    if (grpc::Status may_begin = Begin(); may_begin.ok()) {
      StartRead(&incoming_);
    } else {
      End(std::move(may_begin));
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Submit();
    const Status taken = Take();
    if (!taken.ok()) return End(call_.Fail(call_.Refuse(taken)));
    StartRead(&incoming_);
  }
  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  grpc::Status Begin() {
    if (grpc::Status known = call_.Authenticate(); !known.ok()) return known;
    const Status chosen = ChooseModel();
    return chosen.ok() ? grpc::Status::OK : call_.Fail(call_.Refuse(chosen));
  }

  Status ChooseModel() {
    RERANKD_ASSIGN_OR_RETURN(const ModelInfo* model, call_.Model());
    model_ = model->name;
    return HasRelevance(model->num_labels);
  }

  Status Take() {
    const ServerSettings& limits = call_.service().settings().server;
    bytes_ += static_cast<int64_t>(incoming_.Length());
    RERANKD_RETURN_IF_ERROR(call_.TakeMessage(incoming_.Length()));
    RERANKD_ASSIGN_OR_RETURN(RerankStreamRequest message, ParseMessage<RerankStreamRequest>(incoming_));
    incoming_.Clear();
    RERANKD_RETURN_IF_ERROR(texts_.Add(std::move(message)));
    if (static_cast<int64_t>(texts_.size()) > limits.max_documents)
      return InvalidArgument("more than " + std::to_string(limits.max_documents) +
                             " texts in one stream (server.max_documents): split it");
    if (bytes_ > limits.max_body_bytes)
      return InvalidArgument("more than " + std::to_string(limits.max_body_bytes) +
                             " bytes in one stream (server.max_body_bytes): split it");
    return {};
  }

  void Submit() {
    if (texts_.size() == 0) return End(call_.Fail(call_.Refuse(InvalidArgument("the stream has no texts"))));
    scores_.resize(texts_.size());
    groups_ = texts_.TakeGroups();
    SubmitNext();
  }

  // The group at next_, or the reply after the last one.
  void SubmitNext() {
    if (next_ == groups_.size()) return Reply();
    ScoreRequest request = ScoreRequest::ForPairs(std::move(groups_[next_].pairs));
    SetTruncation(groups_[next_].truncate, groups_[next_].direction, &request);
    request.model = model_;
    call_.Attribute(&request);
    const Status admitted =
        call_.Submit(std::move(request), [this](Result<Answer> answer) { Complete(std::move(answer)); });
    if (!admitted.ok()) End(call_.Fail(admitted));
  }

  void Complete(Result<Answer> answer) {
    if (!answer.ok()) return End(call_.Fail(answer.status()));
    const auto scores = RelevanceScores(answer->result, texts_.raw_scores());
    if (!scores.ok()) return End(call_.Fail(scores.status()));
    const std::vector<size_t>& indices = groups_[next_].indices;
    for (size_t i = 0; i < std::min(scores->size(), indices.size()); ++i) scores_[indices[i]] = (*scores)[i];
    Sum(*answer);
    ++next_;
    SubmitNext();
  }

  void Sum(const Answer& answer) {
    sum_.latency_ms = answer.latency_ms;  // since the stream began
    sum_.compute_type = answer.compute_type;
    sum_.characters += answer.characters;
    sum_.result.tokens.insert(sum_.result.tokens.end(), answer.result.tokens.begin(),
                              answer.result.tokens.end());
    sum_.result.counts.real += answer.result.counts.real;
    sum_.result.counts.truncated_pairs += answer.result.counts.truncated_pairs;
    sum_.result.timings.queue_ms += answer.result.timings.queue_ms;
    sum_.result.timings.tokenize_ms += answer.result.timings.tokenize_ms;
    sum_.result.timings.inference_ms += answer.result.timings.inference_ms;
  }

  void Reply() {
    RerankResponse response = MakeRanks(scores_, texts_.TakeTexts());
    FillMetadata(sum_, response.mutable_metadata());
    call_.AddAnswer(sum_);
    grpc::Status status = WriteMessage(response, reply_);
    call_.AddReplyBytes(reply_->Length());
    End(std::move(status));
  }

  void End(grpc::Status status) {
    call_.Log(status);
    Finish(std::move(status));
  }

  GrpcCall call_;
  grpc::ByteBuffer* reply_;
  std::string model_;
  grpc::ByteBuffer incoming_;
  int64_t bytes_ = 0;
  StreamedTexts texts_;
  std::vector<Group> groups_;
  size_t next_ = 0;  // group
  std::vector<float> scores_;
  Answer sum_;
};

using Generated = tei::v1::Rerank;
class RerankService final : public Generated::WithRawCallbackMethod_Rerank<
                                Generated::WithRawCallbackMethod_RerankStream<Generated::Service>> {
 public:
  explicit RerankService(const GrpcBackend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Rerank(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* reply) override {
    return Score<RerankMethod>(backend_, context, request, reply);
  }
  grpc::ServerReadReactor<grpc::ByteBuffer>* RerankStream(grpc::CallbackServerContext* context,
                                                          grpc::ByteBuffer* reply) override {
    return new RerankStreamCall(backend_, *context, reply);
  }

 private:
  const GrpcBackend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTeiRerank(const GrpcBackend& backend) {
  return std::make_unique<RerankService>(backend);
}

}  // namespace rerankd::serving
