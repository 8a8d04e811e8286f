// The scheduler with real threads, on the scripted backend. (The policies: src/scheduler/*_test.cc.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <random>
#include <thread>

#include "backends/fake/fake_backend.h"
#include "scheduler/scheduler.h"
#include "scheduler/testing/byte_tokenizer.h"

namespace rerankd {
namespace {

using std::chrono::milliseconds;
using testing::AnyOf;
using testing::HasSubstr;

using Answer = std::future<Result<ScoreResult>>;

class SchedulingTest : public testing::Test {
 protected:
  SchedulingTest() { core_.admission.max_queue_ms = 1e9; }

  // `workers[i]` fake backends in instance i.
  void Start(const std::vector<int>& workers) {
    std::vector<SchedulerInstance> instances;
    for (const int count : workers) {
      SchedulerInstance instance;
      instance.name = "fake-" + std::to_string(instances.size());
      instance.tokenizer = &tokenizer_;
      for (int i = 0; i < count; ++i) instance.workers.push_back(std::make_unique<FakeBackend>(fake_));
      instances.push_back(std::move(instance));
    }
    auto made = Scheduler::Create(core_, std::move(instances), caches_);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    scheduler_ = std::move(*made);
  }

  Status Submit(ScoreRequest request, Answer* answer) {
    auto promise = std::make_shared<std::promise<Result<ScoreResult>>>();
    *answer = promise->get_future();
    return scheduler_->Submit(std::move(request), [promise](Result<ScoreResult> result) {
      promise->set_value(std::move(result));  // throws, and so ends the test, when called twice
    });
  }

  Result<ScoreResult> Score(ScoreRequest request) {
    Answer answer;
    RERANKD_RETURN_IF_ERROR(Submit(std::move(request), &answer));
    return answer.get();
  }

  std::vector<float> Expected(const ScoreRequest& request) {
    std::vector<float> logits;
    PairOptions options;
    for (const Document& document : request.documents) {
      std::vector<int32_t> query;
      tokenizer_.EncodeText(request.queries[document.query], false, &query);
      EncodedPairs pair;
      EXPECT_TRUE(tokenizer_.AppendPair(query, document.text, options, &pair).ok());
      for (int label = 0; label < fake_.num_labels; ++label) logits.push_back(FakeLogit(pair[0].ids, label));
    }
    return logits;
  }

  CoreOptions core_;
  CacheSizes caches_;
  FakeOptions fake_;
  ByteTokenizer tokenizer_;
  std::unique_ptr<Scheduler> scheduler_;
};

ScoreRequest RandomRequest(std::mt19937* random, int count) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (size_t k = (*random)() % 100; k > 0; --k) text += static_cast<char>('a' + (*random)() % 26);
    pairs.emplace_back("query" + std::to_string(i / 5), text);
  }
  return ScoreRequest::ForPairs(std::move(pairs));
}

// `count` different documents of at least `bytes`.
ScoreRequest Documents(int count, int bytes) {
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i) {
    documents.push_back(std::to_string(i) + ":");
    documents.back().resize(std::max(documents.back().size(), static_cast<size_t>(bytes)), 'd');
  }
  return ScoreRequest::ForQuery("q", std::move(documents));
}

TEST_F(SchedulingTest, ManyClientsGetTheirOwnScores) {
  for (const bool padded : {false, true}) {
    fake_.padded = padded;
    fake_.num_labels = 2;
    fake_.ms_per_token = 0.0002;
    core_.tokenizer_threads = 2;
    core_.routing = Routing::kLeastBusy;
    Start({2, 1});
    std::vector<std::thread> clients;
    for (uint32_t c = 0; c < 6; ++c)
      clients.emplace_back([this, c] {
        std::mt19937 random(c);
        for (int i = 0; i < 15; ++i) {
          const ScoreRequest request =
              RandomRequest(&random, i == 7 ? 400 : 1 + static_cast<int>(random() % 30));
          const auto result = Score(request);
          ASSERT_TRUE(result.ok()) << result.status().ToString();
          ASSERT_EQ(result->logits, Expected(request));
          ASSERT_EQ(result->num_labels, 2);
          ASSERT_GE(result->worker, 0);
        }
      });
    for (std::thread& client : clients) client.join();
    int64_t requests = 0, pairs = 0;
    for (const WorkerStats& worker : scheduler_->stats().workers) {
      requests += worker.requests;
      pairs += worker.pairs;
      EXPECT_GT(worker.pairs, 0);
    }
    EXPECT_EQ(requests, 90);
    EXPECT_GT(pairs, 2400);
  }
}

TEST_F(SchedulingTest, EncodesAQueryOncePerRequest) {
  core_.tokenizer_threads = 3;
  Start({1});
  ASSERT_TRUE(Score(Documents(1000, 20)).ok());
  EXPECT_EQ(tokenizer_.encoded_texts, 1001);
}

// Every unhappy path at once, many times: each admitted request is answered exactly once.
TEST_F(SchedulingTest, AnswersEveryRequestOnceUnderCancellationDeadlinesAndFailures) {
  fake_.ms_per_token = 0.001;
  fake_.fail_every = 25;
  core_.tokenizer_threads = 2;
  core_.admission.max_queue_requests = 40;
  Start({2, 2});
  std::atomic<int> ok{0}, cancelled{0}, expired{0}, failed{0}, full{0};
  const auto client = [&](uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<ScoreRequest, Answer>> answers;
    for (int i = 0; i < 60; ++i) {
      ScoreRequest request = RandomRequest(&random, 1 + static_cast<int>(random() % 40));
      if (i % 4 == 1) request.deadline = SteadyClock::Get().Now() + milliseconds(random() % 20);
      if (i % 10 == 3) request.documents.back().text = "!";
      const CancelFlag cancel = request.cancel;
      Answer answer;
      const Status status = Submit(request, &answer);
      if (!status.ok()) {
        ++full;
        EXPECT_THAT(status.code(), AnyOf(Code::kResourceExhausted, Code::kDeadlineExceeded));
        std::this_thread::sleep_for(milliseconds(5));
        continue;
      }
      answers.emplace_back(std::move(request), std::move(answer));
      if (i % 4 == 2) {
        std::this_thread::sleep_for(milliseconds(random() % 5));
        cancel.Cancel();
      }
    }
    for (auto& [request, answer] : answers) {
      const auto result = answer.get();
      if (result.ok()) {
        ++ok;
        EXPECT_EQ(result->logits, Expected(request));
      } else if (result.status().code() == Code::kCancelled) {
        ++cancelled;
        EXPECT_TRUE(request.cancel.cancelled());
      } else if (result.status().code() == Code::kDeadlineExceeded) {
        ++expired;
        EXPECT_TRUE(request.deadline.has_value());
      } else {
        ++failed;
        EXPECT_THAT(result.status().code(), AnyOf(Code::kInternal, Code::kInvalidArgument));
      }
    }
  };
  std::vector<std::thread> clients;
  for (uint32_t c = 0; c < 4; ++c) clients.emplace_back(client, c);
  for (std::thread& thread : clients) thread.join();
  scheduler_->Drain();
  EXPECT_EQ(ok + cancelled + expired + failed + full, 240);
  EXPECT_GT(ok, 0);
  EXPECT_GT(failed, 0);
  const EngineStats stats = scheduler_->stats();
  EXPECT_EQ(stats.queued_requests, 0);
  EXPECT_EQ(stats.queued_tokens, 0);
  EXPECT_EQ(stats.cancelled, cancelled);
  EXPECT_EQ(stats.expired, expired);
}

TEST_F(SchedulingTest, AFailureNamesTheBackendAndTheNextRequestWorks) {
  fake_.fail_every = 2;
  Start({1});
  ASSERT_TRUE(Score(Documents(1, 10)).ok());
  const auto failed = Score(Documents(1, 10));
  EXPECT_EQ(failed.status().code(), Code::kInternal);
  EXPECT_THAT(failed.status().message(), HasSubstr("backend 'fake' (instance fake-0, worker 0) failed"));
  EXPECT_TRUE(Score(Documents(1, 10)).ok());
}

TEST_F(SchedulingTest, ANanFailsItsOwnRequestOnly) {
  fake_.nan_every = 2;
  caches_.score_bytes = 1 << 20;
  Start({1});
  ASSERT_TRUE(Score(Documents(1, 10)).ok());
  const auto failed = Score(Documents(2, 12));
  EXPECT_EQ(failed.status().code(), Code::kInternal);
  EXPECT_THAT(failed.status().message(),
              HasSubstr("backend 'fake' (instance fake-0, worker 0) failed: score is NaN (document 0)"));
  const auto again = Score(Documents(2, 12));
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->counts.cached, 0);  // a failed request leaves nothing in the cache
}

TEST_F(SchedulingTest, EqualDocumentsAreScoredOnce) {
  fake_.num_labels = 2;
  Start({1});
  ScoreRequest request =
      ScoreRequest::ForPairs({{"q", "a"}, {"q", "bb"}, {"q", "a"}, {"r", "a"}, {"q", "bb"}, {"q", "a"}});
  const auto result = Score(request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->logits, Expected(request));
  EXPECT_THAT(result->tokens, testing::ElementsAre(5, 6, 5, 5, 6, 5));
  // Equal queries that do not follow each other are two to ForPairs: "q" "a" of the third query is its own.
  EXPECT_EQ(result->counts.pairs, 5);
  EXPECT_EQ(result->counts.duplicates, 1);
  EXPECT_EQ(scheduler_->stats().workers[0].pairs, 5);
}

// Of each label the maximum over the windows.
TEST_F(SchedulingTest, PoolsWindowsByLabel) {
  fake_.num_labels = 3;
  fake_.max_tokens = 24;
  core_.documents.policy = Overflow::kMaxWindow;
  Start({2});
  const std::string text = "a document that has no room in one window of twenty tokens";
  const auto result = Score(ScoreRequest::ForQuery("q", {text}));
  ASSERT_TRUE(result.ok());
  std::vector<float> best(3, -100);
  int windows = 0;
  for (size_t begin = 0; begin == 0 || begin + 10 < text.size(); begin += 10, ++windows) {
    ScoreRequest window = ScoreRequest::ForQuery("q", {text.substr(begin, 20)});
    const std::vector<float> logits = Expected(window);
    for (size_t l = 0; l < 3; ++l) best[l] = std::max(best[l], logits[l]);
  }
  EXPECT_EQ(result->logits, best);
  EXPECT_EQ(result->counts.pairs, windows);
  EXPECT_EQ(scheduler_->stats().extra_windows, windows - 1);
  EXPECT_EQ(result->truncated[0], 0);
}

// The second time every score comes from the cache, bit for bit; another option is another score.
TEST_F(SchedulingTest, CachedScoresAreTheComputedOnes) {
  fake_.num_labels = 2;
  core_.tokenizer_threads = 2;
  caches_ = {1 << 20, 1 << 20};
  Start({2});
  std::mt19937 random(3);
  for (int r = 0; r < 20; ++r) {
    const ScoreRequest request = RandomRequest(&random, 1 + static_cast<int>(random() % 100));
    const auto first = Score(request), second = Score(request);
    ASSERT_TRUE(first.ok() && second.ok());
    ASSERT_EQ(first->logits, Expected(request));
    ASSERT_EQ(second->logits, first->logits);
    ASSERT_EQ(second->tokens, first->tokens);
    ASSERT_EQ(second->truncated, first->truncated);
    ASSERT_EQ(second->counts.cached, static_cast<int>(request.documents.size()));
    ASSERT_EQ(second->counts.pairs, 0);
    ASSERT_EQ(second->worker, -1);
  }
  ScoreRequest request = Documents(10, 60);
  ASSERT_TRUE(Score(request).ok());
  request.pair_options.max_length = 40;
  const int64_t hits = scheduler_->stats().document_cache.hits;
  const auto shorter = Score(request);
  ASSERT_TRUE(shorter.ok());
  EXPECT_EQ(shorter->counts.cached, 0);
  EXPECT_THAT(shorter->truncated, testing::Each(1));
  const EngineStats stats = scheduler_->stats();
  EXPECT_GT(stats.score_cache.hits, 0);
  EXPECT_LE(stats.score_cache.bytes, stats.score_cache.capacity_bytes);
  EXPECT_EQ(stats.document_cache.hits - hits, 10);  // token ids do not depend on the options of a pair
}

TEST_F(SchedulingTest, CachesStayWithinTheirBounds) {
  caches_ = {20'000, 10'000};
  Start({1});
  for (int r = 0; r < 20; ++r) ASSERT_TRUE(Score(Documents(50, 100 + r)).ok());
  const EngineStats stats = scheduler_->stats();
  for (const CacheStats& cache : {stats.document_cache, stats.score_cache}) {
    EXPECT_LE(cache.bytes, cache.capacity_bytes);
    EXPECT_GT(cache.bytes, cache.capacity_bytes / 2);
    EXPECT_EQ(cache.misses, 1000);
    EXPECT_EQ(cache.evicted, 1000 - cache.entries);
  }
}

// Little of 1,000 documents in flight runs between the arrival and the answer of 5 others, whatever the
// threads of this machine do meanwhile. (The exact bound: ASmallRequestPassesALargeOne on the virtual clock.)
TEST_F(SchedulingTest, ASmallRequestPassesALargeOneForReal) {
  std::atomic<int64_t> started{0};
  fake_.ms_per_token = 0.02;
  fake_.on_score = [&](const Batch& batch) { started += batch.tokens(); };
  core_.tokenizer_threads = 2;
  Start({2});
  Answer large;
  ASSERT_TRUE(Submit(Documents(1000, 80), &large).ok());
  while (started < 2000) std::this_thread::sleep_for(milliseconds(1));
  for (int i = 0; i < 10; ++i) {
    const int64_t before = started;
    const auto small = Score(Documents(5, 90 + i));
    ASSERT_TRUE(small.ok());
    EXPECT_LE(started - before, 10'000);  // the large one has 84,000 tokens
  }
  EXPECT_EQ(large.wait_for(milliseconds(0)), std::future_status::timeout);  // still in flight
  EXPECT_TRUE(large.get().ok());
}

TEST_F(SchedulingTest, ALostBackendIsUsedNoMore) {
  fake_.lost_after = 3;
  Start({1, 1});
  int failures = 0;
  Status last;
  for (int i = 0; i < 20; ++i) {
    last = Score(Documents(1, 10)).status();
    failures += last.code() == Code::kInternal;
  }
  // Each backend fails once. The one that goes last leaves no worker: kUnavailable, not a hang.
  EXPECT_EQ(failures, 2);
  EXPECT_EQ(last.code(), Code::kUnavailable);
  EXPECT_THAT(last.message(), HasSubstr("lost after 3 calls"));
}

TEST_F(SchedulingTest, WaitingRequestsCompleteAtTheirDeadline) {
  fake_.ms_per_batch = 300;
  Start({1});
  Answer running, waiting;
  ASSERT_TRUE(Submit(Documents(1, 10), &running).ok());
  while (scheduler_->stats().workers[0].requests == 0) std::this_thread::sleep_for(milliseconds(1));
  ScoreRequest request = Documents(1, 10);
  const TimePoint start = SteadyClock::Get().Now();
  request.deadline = start + milliseconds(30);
  ASSERT_TRUE(Submit(std::move(request), &waiting).ok());
  EXPECT_EQ(waiting.get().status().code(), Code::kDeadlineExceeded);
  EXPECT_LT(ToMs(SteadyClock::Get().Now() - start), 200);  // not when the worker comes free
  EXPECT_TRUE(running.get().ok());
}

TEST_F(SchedulingTest, CancellingStopsARunningMicroBatch) {
  fake_.ms_per_batch = 60'000;
  Start({1});
  ScoreRequest request = Documents(1, 10);
  const CancelFlag cancel = request.cancel;
  Answer answer;
  ASSERT_TRUE(Submit(std::move(request), &answer).ok());
  while (scheduler_->stats().workers[0].requests == 0) std::this_thread::sleep_for(milliseconds(1));
  cancel.Cancel();
  EXPECT_EQ(answer.get().status().code(), Code::kCancelled);
  EXPECT_EQ(scheduler_->stats().cancelled, 1);
}

TEST_F(SchedulingTest, RefusesAtOnceWhenFull) {
  core_.admission.max_queue_requests = 2;
  fake_.ms_per_batch = 50;
  Start({1});
  Answer a, b, c;
  ASSERT_TRUE(Submit(Documents(1, 10), &a).ok());
  ASSERT_TRUE(Submit(Documents(1, 10), &b).ok());
  const Status full = Submit(Documents(1, 10), &c);
  EXPECT_EQ(full.code(), Code::kResourceExhausted);
  EXPECT_GE(full.retry_after_ms(), 1000);
  EXPECT_TRUE(a.get().ok());
  EXPECT_TRUE(b.get().ok());
  EXPECT_EQ(scheduler_->stats().rejected, 1);
  EXPECT_TRUE(Score(Documents(1, 10)).ok());
}

TEST_F(SchedulingTest, DrainAnswersEverythingAdmitted) {
  fake_.ms_per_token = 0.002;
  Start({2});
  std::vector<Answer> answers(20);
  for (Answer& answer : answers) ASSERT_TRUE(Submit(Documents(30, 50), &answer).ok());
  scheduler_->Drain();
  for (Answer& answer : answers) {
    ASSERT_EQ(answer.wait_for(milliseconds(0)), std::future_status::ready);
    EXPECT_TRUE(answer.get().ok());
  }
  Answer late;
  EXPECT_EQ(Submit(Documents(1, 10), &late).code(), Code::kUnavailable);
}

TEST_F(SchedulingTest, AWindowGathersRequestsAndDrainClosesIt) {
  core_.window = {true, 3, milliseconds(60'000), true};
  Start({1});
  std::vector<Answer> full(3);
  for (Answer& answer : full) ASSERT_TRUE(Submit(Documents(2, 10), &answer).ok());
  for (Answer& answer : full) EXPECT_TRUE(answer.get().ok());
  Answer open;
  ASSERT_TRUE(Submit(Documents(2, 10), &open).ok());
  EXPECT_EQ(open.wait_for(milliseconds(20)), std::future_status::timeout);
  scheduler_->Drain();
  EXPECT_TRUE(open.get().ok());
}

TEST_F(SchedulingTest, AWindowClosesByItself) {
  core_.window = {true, 100, milliseconds(40), false};
  Start({1});
  const auto result = Score(Documents(2, 10));
  ASSERT_TRUE(result.ok());
  EXPECT_GE(result->timings.queue_ms, 39.9);
}

TEST_F(SchedulingTest, NeedsWorkers) {
  EXPECT_EQ(Scheduler::Create(core_, {}).status().code(), Code::kInvalidArgument);
  std::vector<SchedulerInstance> empty(1);
  empty[0].name = "hollow";
  EXPECT_THAT(Scheduler::Create(core_, std::move(empty)).status().message(), HasSubstr("hollow"));
}

}  // namespace
}  // namespace rerankd
