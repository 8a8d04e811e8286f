// A test double of Engine: scores on a thread of its own, deterministic, with switches for the unhappy paths.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace rerankd::serving {

// One token per character; [CLS] = 101, [SEP] = 102.
class FakeTokenizer final : public Tokenizer {
 public:
  int vocab_size() const override { return 256; }
  int pair_overhead() const override { return 3; }
  void EncodeText(std::string_view text, bool, std::vector<int32_t>* ids) const override {
    for (const char c : text) ids->push_back(static_cast<unsigned char>(c));
  }
  Status AppendEncoded(std::span<const int32_t>, std::span<const int32_t>, const PairOptions&,
                       EncodedPairs*) const override {
    return Internal("not used");
  }
  Result<std::vector<DisplayToken>> Explain(std::string_view text, std::string_view,
                                            const PairOptions&) const override {
    std::vector<DisplayToken> tokens = {{101, "[CLS]", 0, 0, 0}};
    for (int i = 0; i < static_cast<int>(text.size()); ++i)
      tokens.push_back(
          {text[static_cast<size_t>(i)], std::string(1, text[static_cast<size_t>(i)]), 0, i, i + 1});
    tokens.push_back({102, "[SEP]", 0, 0, 0});
    return tokens;
  }
};

// Logit l of a pair = (bytes of its document) / 10 + l; every pair has bytes + 3 tokens, at most 512.
class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(int num_labels = 1) : thread_([this] { Run(); }) {
    ModelInfo& info = models_.front();
    info.name = "fake-model";
    info.num_labels = num_labels;
    for (int l = 0; l < num_labels; ++l) info.labels.push_back("LABEL_" + std::to_string(l));
    info.tokenizer = std::make_shared<FakeTokenizer>();
    instances_.resize(1);
    instances_[0].name = "fake-0";
    instances_[0].caps.name = "fake";
    instances_[0].caps.device = "cpu";
    instances_[0].caps.precision = "fp32";
    instances_[0].caps.num_labels = num_labels;
  }
  ~FakeEngine() override {
    Drain();
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Status Submit(ScoreRequest request, Completion done) override {
    if (request.documents.empty()) return InvalidArgument("no documents");
    std::lock_guard lock(mutex_);
    if (draining_) return Unavailable("draining");
    if (refusal_) return *refusal_;
    last_request_ = request;
    jobs_.push_back({std::move(request), std::move(done)});
    ++admitted_;
    changed_.notify_all();
    return {};
  }
  void Drain() override {
    std::unique_lock lock(mutex_);
    draining_ = true;
    held_ = false;
    changed_.notify_all();
    changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
  }
  const std::vector<ModelInfo>& models() const override { return models_; }
  const std::vector<InstanceInfo>& instances() const override { return instances_; }
  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats;
    stats.workers.resize(1);
    stats.workers.front().alive = !lost_;
    stats.cancelled = cancelled_;
    stats.queued_requests = static_cast<int64_t>(jobs_.size());
    return stats;
  }

  // Holds back every job until Release (or Drain).
  void Hold() {
    Set([this] { held_ = true; });
  }
  void Release() {
    Set([this] { held_ = false; });
  }
  void RefuseWith(std::optional<Status> status) {
    Set([&] { refusal_ = std::move(status); });
  }
  void FailWith(std::optional<Status> status) {
    Set([&] { failure_ = std::move(status); });
  }
  void LoseWorkers() {
    Set([this] { lost_ = true; });
  }
  void ScoresNothing() {
    Set([this] { no_scores_ = true; });
  }  // pipeline mode tokenization_only

  int admitted() const { return admitted_; }
  int cancelled() const { return cancelled_; }
  ScoreRequest last_request() const {
    std::lock_guard lock(mutex_);
    return last_request_;
  }

 private:
  struct Job {
    ScoreRequest request;
    Completion done;
  };

  template <typename F>
  void Set(F change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  // Jobs whose client left are taken even while held.
  std::optional<Job> Take() {
    for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
      if (held_ && !it->request.cancel.cancelled()) continue;
      Job job = std::move(*it);
      jobs_.erase(it);
      return job;
    }
    return std::nullopt;
  }

  void Run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      std::optional<Job> job = Take();
      if (!job) {
        changed_.wait_for(lock, std::chrono::milliseconds(2));
        continue;
      }
      busy_ = true;
      Result<ScoreResult> result = Score(job->request);
      lock.unlock();
      job->done(std::move(result));
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  Result<ScoreResult> Score(const ScoreRequest& request) {
    if (request.cancel.cancelled()) {
      ++cancelled_;
      return Cancelled("the client left");
    }
    if (failure_) return *failure_;
    ScoreResult result;
    result.num_labels = models_.front().num_labels;
    for (const Document& document : request.documents) AddDocument(document, &result);
    result.counts.computed = result.counts.real;
    result.counts.pairs = static_cast<int>(request.documents.size());
    result.timings = {1.25, 2, 3.6, 3, 7};
    result.worker = 0;
    return result;
  }

  void AddDocument(const Document& document, ScoreResult* result) {
    const int full = static_cast<int>(document.text.size()) + 3;
    const int kept = std::min(full, 512);
    if (!no_scores_)
      for (int l = 0; l < models_.front().num_labels; ++l)
        result->logits.push_back(static_cast<float>(document.text.size()) / 10 + static_cast<float>(l));
    result->tokens.push_back(kept);
    result->truncated.push_back(full > kept);
    result->counts.truncated_pairs += full > kept;
    result->counts.real += kept;
    result->counts.longest = std::max(result->counts.longest, kept);
  }

  std::vector<ModelInfo> models_{1};
  std::vector<InstanceInfo> instances_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::optional<Status> refusal_, failure_;
  ScoreRequest last_request_;
  bool held_ = false, busy_ = false, draining_ = false, stop_ = false, no_scores_ = false, lost_ = false;
  std::atomic<int> admitted_{0}, cancelled_{0};
  std::thread thread_;
};

}  // namespace rerankd::serving
