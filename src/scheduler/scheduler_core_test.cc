// The whole scheduler on a virtual clock.
#include "scheduler/scheduler_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "scheduler/testing/simulation.h"

namespace rerankd {
namespace {

using std::chrono::milliseconds;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;

InstanceSpec Native(int workers, const std::string& name = "native-0") {
  InstanceSpec spec;
  spec.name = name;
  spec.caps.name = "native";
  spec.workers = workers;
  return spec;
}

CoreOptions NoLimits() {
  CoreOptions options;
  options.admission.max_queue_ms = 1e9;
  return options;
}

// `count` documents whose pairs with "q" have `tokens` tokens each.
ScoreRequest Documents(int count, int tokens) {
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i) {
    std::string text = std::to_string(i) + ":";
    text.resize(static_cast<size_t>(tokens - 4), 'x');
    documents.push_back(text);
  }
  return ScoreRequest::ForQuery("q", std::move(documents));
}

ScoreRequest RandomRequest(std::mt19937* random) {
  std::vector<std::pair<std::string, std::string>> pairs;
  const int count = random->operator()() % 10 == 0 ? 300 : 1 + static_cast<int>((*random)() % 20);
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (size_t k = (*random)() % 150; k > 0; --k) text += static_cast<char>('a' + (*random)() % 26);
    pairs.emplace_back("query" + std::to_string(i / 7), text);
  }
  ScoreRequest request = ScoreRequest::ForPairs(std::move(pairs));
  request.tenant = std::string(1, static_cast<char>('a' + (*random)() % 3));
  request.weight = request.tenant == "a" ? 4 : 0.25;
  return request;
}

struct Scenario {
  CoreOptions options;
  std::vector<InstanceSpec> instances;
  bool windowed = false;
};

Scenario RandomScenario(std::mt19937* random) {
  Scenario scenario;
  scenario.options = NoLimits();
  scenario.options.routing = static_cast<Routing>((*random)() % 5);
  scenario.options.tokenizer_threads = 1 + static_cast<int>((*random)() % 3);
  scenario.options.spread_slices = (*random)() % 2 == 0;
  scenario.windowed = (*random)() % 3 == 0;
  if (scenario.windowed) scenario.options.window = {true, 4, milliseconds(20), (*random)() % 2 == 0};
  const bool padded = (*random)() % 2 == 0;
  const int instances = 1 + static_cast<int>((*random)() % 3);
  for (int i = 0; i < instances; ++i) {
    scenario.instances.push_back(Native(1 + static_cast<int>((*random)() % 3), "i" + std::to_string(i)));
    scenario.instances.back().caps.padded = padded;
    if (padded) scenario.instances.back().caps.batch_tokens = 2000;
  }
  return scenario;
}

// No loss, no duplicate, right scores, nobody idle while work waits: for any configuration and load.
TEST(SchedulerCore, CompletesEveryRequestOnceWithItsOwnScores) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const Scenario scenario = RandomScenario(&random);
    Simulation sim(scenario.options, scenario.instances);
    int64_t pairs = 0, documents = 0;
    for (int r = 0; r < 60; ++r) {
      ScoreRequest request = RandomRequest(&random);
      documents += static_cast<int64_t>(request.documents.size());
      sim.SubmitAt(static_cast<double>(random() % 300), std::move(request));
    }
    sim.Run();
    ASSERT_EQ(sim.outcomes().size(), 60u);
    for (auto& [key, outcome] : sim.outcomes()) {
      pairs += outcome.job->size();
      ASSERT_EQ(outcome.completions, 1);
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
      ASSERT_EQ(outcome.logits, sim.Expected(outcome.job->request, 512));
    }
    EXPECT_EQ(sim.computed_twice, 0);
    EXPECT_EQ(static_cast<int64_t>(sim.computed.size()), pairs);
    EXPECT_EQ(sim.idle_while_work_waits, 0);
    const EngineStats stats = sim.core().stats();
    EXPECT_EQ(stats.queued_tokens, 0);
    EXPECT_EQ(stats.queued_requests, 0);
    int64_t counted = 0;
    for (const WorkerStats& worker : stats.workers) counted += worker.pairs;
    EXPECT_EQ(counted, pairs);
    EXPECT_EQ(stats.duplicate_documents, documents - pairs);
  }
}

// The same with clients that leave, deadlines, batches that fail and texts that cannot be encoded.
TEST(SchedulerCore, CompletesEveryRequestOnceWhateverGoesWrong) {
  int ok = 0, cancelled = 0, expired = 0, failed = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const Scenario scenario = RandomScenario(&random);
    Simulation sim(scenario.options, scenario.instances);
    sim.verdict = [&](int, const MicroBatch&) { return random() % 40 == 0 ? Internal("boom") : Status(); };
    int64_t pairs = 0;
    for (int r = 0; r < 60; ++r) {
      ScoreRequest request = RandomRequest(&random);
      const double at = static_cast<double>(random() % 300);
      if (r % 5 == 1) request.deadline = sim.now() + FromMs(at + 1 + static_cast<double>(random() % 40));
      if (r % 5 == 2) {
        const CancelFlag cancel = request.cancel;
        sim.At(at + 1 + static_cast<double>(random() % 40), [cancel] { cancel.Cancel(); });
      }
      if (r % 15 == 3) request.documents.back().text = "!";
      sim.SubmitAt(at, std::move(request));
    }
    sim.Run();
    for (auto& [key, outcome] : sim.outcomes()) {
      ASSERT_EQ(outcome.completions, outcome.admitted ? 1 : 0);
      if (!outcome.admitted) {  // its deadline cannot be met
        ASSERT_EQ(outcome.status.code(), Code::kResourceExhausted);
        continue;
      }
      pairs += outcome.job->size();
      switch (outcome.status.code()) {
        case Code::kOk:
          ++ok;
          ASSERT_EQ(outcome.logits, sim.Expected(outcome.job->request, 512));
          break;
        case Code::kCancelled:
          ++cancelled;
          ASSERT_TRUE(outcome.job->request.cancel.cancelled());
          break;
        case Code::kDeadlineExceeded:
          ++expired;
          ASSERT_EQ(outcome.completed, *outcome.job->request.deadline);  // at once, wherever it waits
          break;
        default:
          ++failed;
          ASSERT_THAT(outcome.status.code(), AnyOf(Code::kInternal, Code::kInvalidArgument));
      }
    }
    EXPECT_EQ(sim.computed_twice, 0);
    EXPECT_EQ(sim.idle_while_work_waits, 0);
    const EngineStats stats = sim.core().stats();
    EXPECT_EQ(static_cast<int64_t>(sim.computed.size()) + stats.dropped_pairs, pairs);
    EXPECT_EQ(stats.queued_tokens, 0);
    EXPECT_EQ(stats.tokenizer_queue + stats.model_queue, 0);
  }
  EXPECT_GT(ok, 1000);
  EXPECT_GT(cancelled, 50);
  EXPECT_GT(expired, 50);
  EXPECT_GT(failed, 50);
}

TEST(SchedulerCore, OneLargeRequestSpreadsOverAllWorkers) {
  Simulation sim(NoLimits(), {Native(4)});
  const int key = sim.Submit(Documents(400, 64));
  sim.Run();
  const double ideal_ms = 400 * 64 * sim.us_per_token / 1000 / 4;
  EXPECT_LT(sim.outcome(key).ms(), ideal_ms * 1.05);
  for (const WorkerStats& worker : sim.core().stats().workers) EXPECT_NEAR(worker.tokens, 6400, 256);
}

TEST(SchedulerCore, ASmallRequestUsesAllIdleWorkers) {
  Simulation sim(NoLimits(), {Native(4)});
  const int key = sim.Submit(Documents(4, 64));
  sim.Run();
  for (const WorkerStats& worker : sim.core().stats().workers) EXPECT_EQ(worker.pairs, 1);
  EXPECT_NEAR(sim.outcome(key).ms(), 0.64, 0.1);
}

TEST(SchedulerCore, SmallRequestsShareAMicroBatch) {
  Simulation sim(NoLimits(), {Native(1)});
  for (int i = 0; i < 8; ++i) sim.SubmitAt(0, Documents(1, 64));
  sim.tokenizer_us_per_pair = 0;
  size_t most = 0;
  sim.on_batch = [&](int, const MicroBatch& batch) { most = std::max(most, batch.shares.size()); };
  sim.Run();
  EXPECT_EQ(most, 4u);
}

// Documents of natural length: 30 to 130 tokens.
ScoreRequest Passages(int count, uint32_t seed) {
  std::mt19937 random(seed);
  ScoreRequest request = ScoreRequest::ForQuery("q", {});
  for (int i = 0; i < count; ++i) {
    std::string text = std::to_string(i) + ":";
    text.resize(26 + random() % 101, 'x');
    request.documents.push_back({text, 0});
  }
  return request;
}

// With 1,000 documents in flight, 5 documents finish within three times their idle latency.
TEST(SchedulerCore, ASmallRequestPassesALargeOne) {
  for (const int workers : {1, 2, 4, 16}) {
    Simulation idle(NoLimits(), {Native(workers)});
    const int alone = idle.Submit(Passages(5, 1));
    idle.Run();
    double worst = 0;
    for (uint32_t k = 0; k < 50; ++k) {
      Simulation sim(NoLimits(), {Native(workers)});
      sim.SubmitAt(0, Passages(1000, k + 2));
      const int small = sim.SubmitAt(10 + 0.37 * k, Passages(5, 1));
      sim.Run();
      worst = std::max(worst, sim.outcome(small).ms());
    }
    EXPECT_LE(worst, 3 * idle.outcome(alone).ms()) << workers << " workers";
  }
}

TEST(SchedulerCore, AStreamOfSmallRequestsDoesNotStarveALargeOne) {
  Simulation sim(NoLimits(), {Native(2)});
  const int large = sim.SubmitAt(0, Documents(500, 64));  // 160 ms alone
  // Twice the capacity in small requests.
  for (int i = 0; i < 500; ++i) sim.SubmitAt(1 + i * 0.8, Documents(5, 64));
  sim.Run();
  EXPECT_LT(sim.outcome(large).ms(), 160 * 2.3);
}

TEST(SchedulerCore, TokenizesInSlicesSoThatTheFirstMicroBatchStartsEarly) {
  Simulation sim(NoLimits(), {Native(1)});
  sim.tokenizer_us_per_pair = 100;
  const int large = sim.SubmitAt(0, Documents(1000, 64));
  const int small = sim.SubmitAt(1, Documents(1, 64));
  sim.Run();
  EXPECT_LE(ToMs(sim.outcome(large).job->first_start - sim.outcome(large).arrived), 6.41);
  EXPECT_LT(sim.outcome(small).ms(), 20);  // the large one tokenises for 100 ms
}

TEST(SchedulerCore, CutsSlicesByBytesToo) {
  SchedulerCore core(NoLimits(), {Native(1)});
  std::vector<std::string> documents;
  for (char c = 'a'; c < 'k'; ++c) documents.emplace_back(100'000, c);
  const auto job = std::make_shared<Job>(ScoreRequest::ForQuery("q", std::move(documents)), nullptr);
  ASSERT_TRUE(core.Admit(job, TimePoint()).ok());
  const auto slice = core.NextSlice(TimePoint());
  ASSERT_TRUE(slice);
  EXPECT_EQ(slice->end - slice->begin, 2);
}

TEST(SchedulerCore, DoesNotComputeForAClientThatLeft) {
  Simulation sim(NoLimits(), {Native(1)});
  ScoreRequest request = Documents(1000, 64);
  const CancelFlag cancel = request.cancel;
  const int key = sim.SubmitAt(0, std::move(request));
  sim.At(100, [cancel] { cancel.Cancel(); });
  sim.Run();
  EXPECT_EQ(sim.outcome(key).status.code(), Code::kCancelled);
  EXPECT_LT(sim.outcome(key).ms(), 104);  // the micro-batch that was running
  const EngineStats stats = sim.core().stats();
  EXPECT_EQ(stats.cancelled, 1);
  EXPECT_EQ(stats.dropped_pairs, 1000 - static_cast<int64_t>(sim.computed.size()));
  EXPECT_GT(stats.dropped_pairs, 800);
}

TEST(SchedulerCore, CountsACancellationThatTheBackendSaw) {
  Simulation sim(NoLimits(), {Native(1)});
  sim.verdict = [](int, const MicroBatch&) { return Cancelled("seen between two layers"); };
  const int key = sim.SubmitAt(0, Documents(3, 64));
  sim.Run();
  EXPECT_EQ(sim.outcome(key).status.code(), Code::kCancelled);
  EXPECT_EQ(sim.core().stats().cancelled, 1);
}

TEST(SchedulerCore, RefusesWhatCannotBeServed) {
  Simulation sim(NoLimits(), {Native(1)});
  const auto refusal = [&](ScoreRequest request) {
    const int key = sim.Submit(std::move(request));
    EXPECT_EQ(sim.outcome(key).completions, 0);
    return sim.outcome(key).status;
  };
  EXPECT_EQ(refusal(ScoreRequest::ForQuery("q", {})).code(), Code::kInvalidArgument);
  ScoreRequest wrong = Documents(2, 10);
  wrong.documents[1].query = 4;
  EXPECT_THAT(refusal(wrong).message(), HasSubstr("document 1 refers to query 4 of 1"));
  ScoreRequest late = Documents(2, 10);
  late.deadline = sim.now();
  EXPECT_EQ(refusal(late).code(), Code::kDeadlineExceeded);
  ScoreRequest gone = Documents(2, 10);
  gone.cancel.Cancel();
  EXPECT_EQ(refusal(gone).code(), Code::kCancelled);
  sim.core().StopAdmission();
  EXPECT_EQ(refusal(Documents(2, 10)).code(), Code::kUnavailable);
}

TEST(SchedulerCore, FillsInTheDefaultDeadline) {
  CoreOptions options = NoLimits();
  options.default_deadline_ms = 30;
  Simulation sim(options, {Native(1)});
  const int key = sim.Submit(Documents(1000, 64));
  sim.Run();
  EXPECT_EQ(sim.outcome(key).status.code(), Code::kDeadlineExceeded);
  EXPECT_NEAR(sim.outcome(key).ms(), 30, 1e-6);
  EXPECT_EQ(sim.core().stats().expired, 1);
}

TEST(SchedulerCore, AdmitsByTheMeasuredRate) {
  CoreOptions options;
  options.admission.max_queue_ms = 100;
  Simulation sim(options, {Native(2)});
  const int first = sim.Submit(Documents(10, 64));
  sim.Run();
  ASSERT_TRUE(sim.outcome(first).status.ok());
  // Capacity 200 tokens a ms: 20,000 tokens queued are a wait of 100 ms for a request as large.
  int admitted = 0;
  Status refused;
  for (int i = 0; i < 20; ++i) {
    const Status status = sim.outcome(sim.Submit(Documents(40, 400))).status;
    if (status.ok()) ++admitted;
    if (!status.ok()) refused = status;
  }
  // Charged by bytes / 4 + 3 before tokenising: 40 * 103 = 4,120 tokens each.
  EXPECT_EQ(admitted, 5);
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_GT(refused.retry_after_ms(), 0);
  EXPECT_EQ(sim.core().stats().rejected, 15);
  sim.Run();  // tokenised they are four times as large, and still all are served
  for (auto& [key, outcome] : sim.outcomes()) EXPECT_EQ(outcome.completions, outcome.admitted ? 1 : 0) << key;
}

TEST(SchedulerCore, ALargeRequestInFlightDoesNotMakeSmallOnesRefused) {
  CoreOptions options;
  options.admission.max_queue_ms = 100;
  Simulation sim(options, {Native(1)});
  sim.SubmitAt(0, Documents(10, 64));
  sim.SubmitAt(10, Documents(2000, 64));  // 1,280 ms of work
  const int small = sim.SubmitAt(50, Documents(5, 64));
  ScoreRequest urgent = Documents(5, 64);
  urgent.deadline = sim.now() + milliseconds(120);
  const int in_time = sim.SubmitAt(100, std::move(urgent));
  const int large = sim.SubmitAt(150, Documents(2000, 64));
  sim.Run();
  EXPECT_TRUE(sim.outcome(small).status.ok());
  EXPECT_TRUE(sim.outcome(in_time).status.ok());
  EXPECT_EQ(sim.outcome(large).status.code(), Code::kResourceExhausted);
}

// Three times the capacity: what is admitted is served in time, the rest is refused, nothing expires.
TEST(SchedulerCore, OverloadKeepsGoodputAndRefusesTheRest) {
  CoreOptions options;
  options.admission.max_queue_ms = 200;
  Simulation sim(options, {Native(2)});
  std::mt19937 random(5);
  for (int i = 0; i < 6000; ++i) {
    ScoreRequest request = Documents(10, 64);  // 3.2 ms of both workers
    const double at = i * 1.07;
    request.deadline = sim.now() + FromMs(at + 300);
    sim.SubmitAt(at, std::move(request));
  }
  sim.Run();
  int ok = 0;
  for (auto& [key, outcome] : sim.outcomes()) {
    if (outcome.admitted) {
      EXPECT_TRUE(outcome.status.ok()) << outcome.status.ToString();
      ++ok;
    } else {
      EXPECT_EQ(outcome.status.code(), Code::kResourceExhausted);
    }
  }
  EXPECT_GT(ok * 3.2, 0.95 * 6000 * 1.07);
}

TEST(SchedulerCore, AFailedMicroBatchFailsItsRequestsAndNoOthers) {
  Simulation sim(NoLimits(), {Native(1)});
  int batches = 0;
  sim.verdict = [&](int, const MicroBatch&) { return ++batches == 1 ? Internal("boom") : Status(); };
  const int bad = sim.SubmitAt(0, Documents(100, 64));
  const int good = sim.SubmitAt(1, Documents(10, 64));
  sim.Run();
  EXPECT_EQ(sim.outcome(bad).status.code(), Code::kInternal);
  EXPECT_TRUE(sim.outcome(good).status.ok());
  EXPECT_LT(sim.computed.size(), 20u);  // the rest of the failed request is not computed
}

TEST(SchedulerCore, GoesOnWithoutALostWorkerAndRefusesWithoutAny) {
  Simulation sim(NoLimits(), {Native(1, "a"), Native(1, "b")});
  sim.verdict = [](int worker, const MicroBatch&) {
    return worker == 0 ? Unavailable("the device is lost") : Status();
  };
  std::vector<int> later;
  sim.SubmitAt(0, Documents(20, 64));
  for (int i = 0; i < 4; ++i) later.push_back(sim.SubmitAt(50 + i, Documents(20, 64)));
  sim.Run();
  for (const int key : later) {
    EXPECT_TRUE(sim.outcome(key).status.ok()) << sim.outcome(key).status.ToString();
    EXPECT_EQ(sim.outcome(key).job->instance, 1);
  }
  sim.verdict = [](int, const MicroBatch&) { return Unavailable("the device is lost"); };
  const int hit = sim.Submit(Documents(100, 64));
  const int waiting = sim.Submit(Documents(100, 64));
  sim.Run();
  EXPECT_EQ(sim.outcome(hit).completions, 1);
  EXPECT_EQ(sim.outcome(waiting).status.code(), Code::kUnavailable);
  const int refused = sim.Submit(Documents(1, 64));
  EXPECT_EQ(sim.outcome(refused).status.code(), Code::kUnavailable);
  EXPECT_THAT(sim.outcome(refused).status.message(), HasSubstr("the device is lost"));
}

TEST(SchedulerCore, RoutingChoosesTheHome) {
  const auto homes = [](Routing routing, double gap_ms) {
    CoreOptions options = NoLimits();
    options.routing = routing;
    Simulation sim(options, {Native(1, "a"), Native(1, "b"), Native(1, "c")});
    std::vector<int> keys, chosen;
    for (int i = 0; i < 6; ++i) keys.push_back(sim.SubmitAt(i * gap_ms, Documents(20, 64)));
    sim.Run();
    for (const int key : keys) chosen.push_back(sim.outcome(key).job->instance);
    return chosen;
  };
  using testing::ElementsAre;
  EXPECT_THAT(homes(Routing::kRoundRobin, 0), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(homes(Routing::kRoundRobin, 1000), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(homes(Routing::kFirstAvailable, 0), ElementsAre(0, 1, 2, 0, 0, 0));
  EXPECT_THAT(homes(Routing::kFirstIdle, 1000), Each(0));
  EXPECT_THAT(homes(Routing::kSmartIdle, 1000), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(homes(Routing::kLeastBusy, 0), ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(SchedulerCore, AnIdleInstanceHelpsOnlyItsOwnKind) {
  InstanceSpec other = Native(1, "b");
  other.caps.precision = "int8";
  CoreOptions options = NoLimits();
  options.routing = Routing::kFirstAvailable;
  Simulation alike(options, {Native(1, "a"), Native(1, "b")});
  const int spread = alike.Submit(Documents(100, 64));
  alike.Run();
  EXPECT_LT(alike.outcome(spread).ms(), 35);

  Simulation unlike(options, {Native(1, "a"), other});
  const int alone = unlike.Submit(Documents(100, 64));
  unlike.Run();
  EXPECT_GT(unlike.outcome(alone).ms(), 63);
  EXPECT_EQ(unlike.core().stats().workers[1].pairs, 0);
}

TEST(SchedulerCore, LowersMaxLengthToTheHomesOwn) {
  InstanceSpec spec = Native(1);
  spec.max_length = 40;
  Simulation sim(NoLimits(), {spec});
  const int key = sim.Submit(Documents(3, 100));
  sim.Run();
  const ScoreResult& result = sim.outcome(key).result;
  EXPECT_THAT(result.tokens, Each(40));
  EXPECT_THAT(result.truncated, Each(1));
  EXPECT_EQ(result.counts.truncated_pairs, 3);
  EXPECT_EQ(result.counts.real, 120);
  EXPECT_EQ(result.counts.longest, 40);
}

// What a document of a settled request must get, by the definition, a byte a token.
struct Reference {
  float logit = 0;
  int tokens = 0;
  bool truncated = false;
};

Reference ByDefinition(const ScoreRequest& request, const Document& document) {
  const OverflowOptions& options = request.overflow;
  const auto limit = [](const std::string& text, int most) {
    return most > 0 ? text.substr(0, static_cast<size_t>(most)) : text;
  };
  const std::string query = limit(request.queries[document.query], options.max_tokens_per_query);
  const std::string text = limit(document.text, options.max_tokens_per_doc);
  const size_t room = static_cast<size_t>(request.pair_options.max_length) - query.size() - 3;
  const bool windows = options.policy == Overflow::kMaxWindow;
  const size_t window =
      windows && options.window > 0 ? std::min(room, static_cast<size_t>(options.window)) : room;
  const size_t half = std::max<size_t>(1, window / 2);
  const size_t stride = options.stride > 0 ? std::min(window, static_cast<size_t>(options.stride)) : half;
  Reference best;
  best.truncated = query != request.queries[document.query] || text != document.text;
  for (size_t begin = 0, n = 1;; begin += stride, ++n) {
    std::vector<int32_t> ids = {256};
    ids.insert(ids.end(), query.begin(), query.end());
    ids.push_back(257);
    const std::string part = text.substr(begin, window);
    ids.insert(ids.end(), part.begin(), part.end());
    ids.push_back(257);
    const float logit = Simulation::Logit(ids);
    best.logit = n == 1 ? logit : std::max(best.logit, logit);
    best.tokens += static_cast<int>(ids.size());
    if (begin + window >= text.size()) return best;
    if (!windows || n == static_cast<size_t>(options.max_windows_per_doc)) {
      best.truncated = true;
      return best;
    }
  }
}

OverflowOptions RandomOverflow(std::mt19937* random) {
  OverflowOptions options;
  options.policy = (*random)() % 4 == 0 ? Overflow::kTruncate : Overflow::kMaxWindow;
  options.window = (*random)() % 2 == 0 ? 0 : 10 + static_cast<int>((*random)() % 60);
  options.stride = options.window > 0 && (*random)() % 2 == 0 ? 1 + static_cast<int>((*random)() % 10) : 0;
  options.max_windows_per_doc = (*random)() % 3 == 0 ? 1 + static_cast<int>((*random)() % 4) : 0;
  options.max_tokens_per_doc = (*random)() % 3 == 0 ? 20 + static_cast<int>((*random)() % 80) : 0;
  options.max_tokens_per_query = (*random)() % 3 == 0 ? 1 + static_cast<int>((*random)() % 6) : 0;
  return options;
}

// Limits, windows and equal documents in any mixture: every document gets the score that the definition
// gives, says what was not looked at, and nothing is computed twice.
TEST(SchedulerCore, ScoresLongDocumentsByTheDefinition) {
  int64_t extra = 0, duplicates = 0, truncated = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Scenario scenario = RandomScenario(&random);
    scenario.options.documents = RandomOverflow(&random);
    for (InstanceSpec& spec : scenario.instances) spec.max_length = 60;
    Simulation sim(scenario.options, scenario.instances);
    for (int r = 0; r < 30; ++r) {
      ScoreRequest request = RandomRequest(&random);
      if (r % 2 == 0) request.overflow = RandomOverflow(&random);
      if (r % 3 == 0) request.documents.push_back(request.documents.front());
      sim.SubmitAt(static_cast<double>(random() % 100), std::move(request));
    }
    sim.Run();
    int64_t rows = 0;
    for (auto& [key, outcome] : sim.outcomes()) {
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
      const ScoreRequest& request = outcome.job->request;
      const ScoreResult& result = outcome.result;
      ASSERT_EQ(result.logits.size(), request.documents.size());
      for (size_t i = 0; i < request.documents.size(); ++i) {
        const Reference expected = ByDefinition(request, request.documents[i]);
        ASSERT_EQ(result.logits[i], expected.logit) << i;
        ASSERT_EQ(result.tokens[i], expected.tokens) << i;
        ASSERT_EQ(result.truncated[i] != 0, expected.truncated) << i;
        truncated += expected.truncated;
      }
      rows += result.counts.pairs;
      duplicates += result.counts.duplicates;
    }
    EXPECT_EQ(static_cast<int64_t>(sim.computed.size()), rows);
    EXPECT_EQ(sim.computed_twice, 0);
    EXPECT_EQ(sim.core().stats().queued_tokens, 0);
    extra += sim.core().stats().extra_windows;
  }
  EXPECT_GT(extra, 1000);
  EXPECT_GT(duplicates, 300);
  EXPECT_GT(truncated, 300);
}

TEST(SchedulerCore, NamesWhatIsTooLong) {
  InstanceSpec spec = Native(1);
  spec.max_length = 40;
  Simulation sim(NoLimits(), {spec});
  const auto failure = [&](OverflowOptions overflow, const std::string& query, const std::string& document) {
    ScoreRequest request = ScoreRequest::ForQuery(query, {"d", document});
    request.overflow = overflow;
    const int key = sim.Submit(std::move(request));
    sim.Run();
    EXPECT_EQ(sim.outcome(key).status.code(), Code::kInvalidArgument);
    return sim.outcome(key).status.message();
  };
  OverflowOptions error;
  error.policy = Overflow::kError;
  EXPECT_THAT(failure(error, "q", std::string(50, 'd')), HasSubstr("document 1: the pair has 54 tokens"));
  error.max_tokens_per_doc = 9;
  EXPECT_THAT(failure(error, "q", std::string(10, 'd')),
              HasSubstr("document 1: the document has 10 tokens, more than the 9 of max_tokens_per_doc"));
  error.max_tokens_per_query = 3;
  EXPECT_THAT(failure(error, "long query", "d"), HasSubstr("the query has 10 tokens, more than the 3"));
  OverflowOptions windows;
  windows.policy = Overflow::kMaxWindow;
  EXPECT_THAT(failure(windows, std::string(37, 'q'), "dd"),
              HasSubstr("the query has 37 tokens, max_length 40 leaves room for 36"));
}

TEST(SchedulerCore, RoutesByModel) {
  InstanceSpec a = Native(1, "a0"), b = Native(1, "b0");
  a.model = "model-a";
  b.model = "model-b";
  b.max_length = 20;
  Simulation sim(NoLimits(), {a, b, a});
  std::vector<int> keys;
  for (const std::string model : {"model-b", "", "model-b", "model-a", "model-b", "model-a"}) {
    ScoreRequest request = Documents(1, 64);
    request.model = model;
    keys.push_back(sim.Submit(std::move(request)));
  }
  ScoreRequest unknown = Documents(1, 64);
  unknown.model = "model-c";
  const int lost = sim.Submit(std::move(unknown));
  EXPECT_EQ(sim.outcome(lost).status.code(), Code::kNotFound);
  sim.Run();
  std::vector<int> homes;
  for (const int key : keys) homes.push_back(sim.outcome(key).job->instance);
  EXPECT_THAT(homes, testing::ElementsAre(1, 0, 1, 2, 1, 0));  // in turn, for each model by itself
  EXPECT_EQ(sim.outcome(keys[0]).result.counts.longest, 20);
  EXPECT_EQ(sim.outcome(keys[1]).result.counts.longest, 64);
  EXPECT_NE(sim.core().group_of_instance(0), sim.core().group_of_instance(1));
  EXPECT_EQ(sim.core().group_of_instance(0), sim.core().group_of_instance(2));
}

TEST(SchedulerCore, SharesTheMachineByTheWeightsOfTenants) {
  Simulation sim(NoLimits(), {Native(2)});
  std::map<std::string, int64_t> served;
  sim.on_batch = [&](int, const MicroBatch& batch) {
    for (const auto& share : batch.shares) served[share.job->request.tenant] += share.tokens;
  };
  for (int i = 0; i < 20; ++i)
    for (const char* tenant : {"heavy", "light"}) {
      ScoreRequest request = Documents(200, 64);
      request.tenant = tenant;
      request.weight = request.tenant == "heavy" ? 3 : 1;
      sim.Submit(std::move(request));
    }
  sim.Run(1000);  // half of the work
  const double share = static_cast<double>(served["heavy"]) / static_cast<double>(served["light"]);
  EXPECT_GT(share, 2.7);
  EXPECT_LT(share, 3.3);
}

TEST(SchedulerCore, OneThreadEncodesARequestWhereSlicesAreNotSpread) {
  for (const bool spread : {true, false}) {
    CoreOptions options = NoLimits();
    options.tokenizer_threads = 4;
    options.spread_slices = spread;
    Simulation sim(options, {Native(1)});
    sim.tokenizer_us_per_pair = 100;
    sim.us_per_token = 0.001;
    const int key = sim.Submit(Documents(512, 64));
    sim.Run();
    EXPECT_NEAR(sim.outcome(key).ms(), spread ? 12.8 : 51.2, 0.5);
  }
}

TEST(SchedulerCore, HoldsRequestsForTheWindow) {
  CoreOptions options = NoLimits();
  options.window = {true, 3, milliseconds(50), true};
  Simulation sim(options, {Native(1)});
  const int lone = sim.SubmitAt(0, Documents(1, 64));
  std::vector<int> full;
  for (int i = 0; i < 3; ++i) full.push_back(sim.SubmitAt(100 + i, Documents(1, 30 + 10 * i)));
  std::vector<int> order;
  sim.on_batch = [&](int, const MicroBatch& batch) {
    for (const QueuedPair& pair : batch.pairs) order.push_back(pair.tokens);
  };
  sim.Run();
  EXPECT_NEAR(sim.outcome(lone).ms(), 50.64, 0.01);
  EXPECT_LT(ToMs(sim.outcome(full[2]).completed - sim.outcome(full[0]).arrived), 4);
  EXPECT_THAT(order, testing::ElementsAre(64, 50, 40, 30));  // length-aware inside a window
}

TEST(SchedulerCore, MeasuresOneRequest) {
  Simulation sim(NoLimits(), {Native(1)});
  sim.SubmitAt(0, Documents(4, 64));                  // one micro-batch of 2.56 ms
  const int key = sim.SubmitAt(1, Documents(8, 64));  // waits for it, then two of its own
  sim.Run();
  const Job& job = *sim.outcome(key).job;
  EXPECT_NEAR(ToMs(job.first_start - job.accepted), 0.02 + 2.56 - 1, 1e-3);
  EXPECT_NEAR(ToMs(job.last_end - job.first_start), 5.12, 1e-3);
  EXPECT_NEAR(job.compute_ms, 5.12, 1e-3);
  EXPECT_NEAR(ToMs(job.tokenize_time), 0.04, 1e-6);
  EXPECT_EQ(job.counts.real, 512);
  EXPECT_EQ(job.counts.computed, 512);
  EXPECT_EQ(job.worker, 0);
  EXPECT_EQ(sim.core().stats().workers[0].requests, 2);
}

TEST(SchedulerCore, SharesThePaddingOfABatchByRows) {
  InstanceSpec spec = Native(1);
  spec.caps.padded = true;
  Simulation sim(NoLimits(), {spec});
  sim.SubmitAt(0, Documents(1, 64));  // keeps the worker busy meanwhile
  const int short_one = sim.SubmitAt(0.1, Documents(2, 20));
  const int long_one = sim.SubmitAt(0.1, Documents(1, 60));
  size_t shared = 0;
  sim.on_batch = [&](int, const MicroBatch& batch) { shared = std::max(shared, batch.shares.size()); };
  sim.Run();
  ASSERT_EQ(shared, 2u);
  EXPECT_EQ(sim.outcome(short_one).job->counts.computed, 120);
  EXPECT_EQ(sim.outcome(long_one).job->counts.computed, 60);
  EXPECT_EQ(sim.core().stats().workers[0].padded_tokens, 64 + 180);
}

}  // namespace
}  // namespace rerankd
