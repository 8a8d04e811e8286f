// The pure policies one by one: admission, overflow, caches, routing, batch budget and packing, window, fair
// queue.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "scheduler/admission.h"
#include "scheduler/batch_policy.h"
#include "scheduler/caches.h"
#include "scheduler/fair_queue.h"
#include "scheduler/overflow.h"
#include "scheduler/routing.h"
#include "scheduler/window.h"

namespace rerankd {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Admission, ChargesAQuarterOfTheBytesUpToMaxLength) {
  ScoreRequest request = ScoreRequest::ForQuery(std::string(10, 'q'), {std::string(30, 'd'), ""});
  request.documents.push_back({std::string(100'000, 'd'), 0});
  request.pair_options.max_length = 128;
  EXPECT_EQ(EstimateTokens(request, std::vector<int32_t>{0}), 13);
  EXPECT_EQ(EstimateTokens(request, std::vector<int32_t>{1}), 5);
  EXPECT_EQ(EstimateTokens(request, std::vector<int32_t>{2}), 128);
  EXPECT_EQ(EstimateTokens(request, std::vector<int32_t>{0, 1, 2}), 146);
}

TEST(Admission, ChargesLimitsAndWindows) {
  ScoreRequest request = ScoreRequest::ForQuery(std::string(40, 'q'), {std::string(800, 'd')});
  request.pair_options.max_length = 113;
  const std::vector<int32_t> all = {0};
  request.overflow.max_tokens_per_doc = 50;
  EXPECT_EQ(EstimateTokens(request, all), 10 + 50 + 3);
  request.overflow.max_tokens_per_query = 4;
  EXPECT_EQ(EstimateTokens(request, all), 4 + 50 + 3);
  request.overflow = {};
  request.overflow.policy = Overflow::kMaxWindow;  // 200 tokens: windows of 100 begin at 0, 50 and 100
  EXPECT_EQ(EstimateTokens(request, all), 3 * 113);
  request.overflow.max_windows_per_doc = 2;
  EXPECT_EQ(EstimateTokens(request, all), 2 * 113);
}

TEST(SettleOverflow, TakesFromTheServerWhatTheRequestDoesNotSay) {
  OverflowOptions defaults;
  defaults.policy = Overflow::kMaxWindow;
  defaults.max_tokens_per_doc = 1000;
  defaults.window = 100;
  defaults.stride = 80;
  defaults.max_windows_per_doc = 8;
  ScoreRequest request;
  ASSERT_TRUE(SettleOverflow(defaults, &request).ok());
  EXPECT_EQ(request.overflow.policy, Overflow::kMaxWindow);
  EXPECT_EQ(request.pair_options.truncation, Truncation::kDocumentOnly);  // the query is whole in each window
  EXPECT_EQ(request.overflow.max_tokens_per_doc, 1000);
  EXPECT_EQ(request.overflow.window, 100);
  EXPECT_EQ(request.overflow.stride, 80);
  EXPECT_EQ(request.overflow.max_windows_per_doc, 8);

  ScoreRequest own;
  own.overflow.window = 50;  // the server's stride belongs to the server's window
  own.overflow.max_windows_per_doc = 9;
  ASSERT_TRUE(SettleOverflow(defaults, &own).ok());
  EXPECT_EQ(own.overflow.stride, 0);
  EXPECT_EQ(own.overflow.max_windows_per_doc, 8);  // may only be lowered

  ScoreRequest strict;  // TEI's `truncate: false`
  strict.pair_options.truncation = Truncation::kError;
  ASSERT_TRUE(SettleOverflow(defaults, &strict).ok());
  EXPECT_EQ(strict.overflow.policy, Overflow::kError);
  ScoreRequest cut;
  cut.pair_options.truncation = Truncation::kError;
  cut.overflow.policy = Overflow::kTruncate;
  ASSERT_TRUE(SettleOverflow(defaults, &cut).ok());
  EXPECT_EQ(cut.pair_options.truncation, Truncation::kLongestFirst);
}

TEST(SettleOverflow, RefusesNonsense) {
  ScoreRequest gaps;
  gaps.overflow.window = 10;
  gaps.overflow.stride = 11;
  EXPECT_THAT(SettleOverflow({}, &gaps).message(), HasSubstr("stride 11 is longer than the window of 10"));
  ScoreRequest negative;
  negative.overflow.max_tokens_per_doc = -4;
  EXPECT_THAT(SettleOverflow({}, &negative).message(), HasSubstr("-4"));
  EXPECT_THAT(ParseOverflow("max_windw").status().message(), HasSubstr("did you mean 'max_window'"));
}

// Windows begin every stride, none is longer than the window, and together they cover all or say so.
TEST(WindowPlan, CoversTheDocument) {
  std::mt19937 random(1);
  for (int k = 0; k < 2000; ++k) {
    OverflowOptions options;
    options.window = static_cast<int>(random() % 40);
    options.stride = options.window > 0 ? static_cast<int>(random()) % (options.window + 1) : 0;
    options.stride = std::max(options.stride, 0);
    options.max_windows_per_doc = static_cast<int>(random() % 4);
    const size_t room = 1 + random() % 50, tokens = random() % 200;
    const WindowPlan plan = WindowPlan::For(options, room);
    size_t covered = 0;
    const size_t count = plan.Count(tokens);
    for (size_t i = 0; i < count; ++i) {
      const TokenWindow window = plan.At(i, tokens);
      ASSERT_LE(window.begin, covered);  // no gap
      ASSERT_LE(window.size, room);
      ASSERT_TRUE(i == 0 || window.begin + window.size > covered) << "a window that adds nothing";
      covered = window.begin + window.size;
    }
    ASSERT_EQ(plan.Cuts(tokens), covered < tokens);
    ASSERT_TRUE(covered == tokens || count == static_cast<size_t>(options.max_windows_per_doc));
  }
}

TEST(LruMap, ForgetsWhatWasNotUsedForLongest) {
  using Map = LruMap<int>;
  Map map(3 * Map::kEntryBytes + 10);
  const auto key = [](uint64_t k) { return Hash128{k, 0}; };
  for (int i = 0; i < 3; ++i) map.Put(key(static_cast<uint64_t>(i)), i * 10, 0);
  ASSERT_NE(map.Find(key(0)), nullptr);
  map.Put(key(3), 30, 0);  // takes the place of 1
  EXPECT_EQ(map.Find(key(1)), nullptr);
  EXPECT_EQ(*map.Find(key(0)), 0);
  EXPECT_EQ(*map.Find(key(3)), 30);
  map.Put(key(4), 40, 10 + Map::kEntryBytes);  // as large as two
  EXPECT_EQ(map.stats().entries, 2);
  EXPECT_EQ(*map.Find(key(3)), 30);
  map.Put(key(5), 50, 1000);  // larger than the map
  EXPECT_EQ(map.Find(key(5)), nullptr);
  EXPECT_EQ(map.stats().hits, 4);
  EXPECT_EQ(map.stats().misses, 2);
  EXPECT_EQ(map.stats().evicted, 3);
  EXPECT_LE(map.stats().bytes, map.stats().capacity_bytes);
}

// Any order of equal and different documents: units are the first of each, and every document finds its own.
TEST(Job, MergesEqualDocumentsOfAQuery) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    ScoreRequest request;
    request.queries = {"a", "b"};
    for (size_t i = random() % 30; i > 0; --i)
      request.documents.push_back({std::string(random() % 3, static_cast<char>('x' + random() % 2)),
                                   static_cast<uint32_t>(random() % 2)});
    const Job job(request, nullptr);
    std::map<std::pair<uint32_t, std::string>, int32_t> firsts;
    std::vector<int32_t> units;
    for (size_t i = 0; i < request.documents.size(); ++i) {
      const Document& document = request.documents[i];
      const auto [entry, added] =
          firsts.emplace(std::pair(document.query, document.text), static_cast<int32_t>(i));
      if (added) units.push_back(entry->second);
      const int32_t unit = job.unit_of.empty() ? static_cast<int32_t>(i) : job.unit_of[i];
      ASSERT_EQ(job.units.at(static_cast<size_t>(unit)), entry->second);
    }
    ASSERT_EQ(job.units, units);
    EXPECT_EQ(Job(request, nullptr, false).units.size(), request.documents.size());
  }
}

TEST(Admission, RateFollowsTheRecentSpeed) {
  RateMeter meter;
  EXPECT_EQ(meter.per_second(), 0);
  for (int i = 0; i < 1000; ++i) meter.Add(100, milliseconds(10));
  EXPECT_NEAR(meter.per_second(), 10'000, 1);
  for (int i = 0; i < 1000; ++i) meter.Add(100, milliseconds(20));
  EXPECT_NEAR(meter.per_second(), 5'000, 5);
}

TEST(Admission, AdmitsEverythingBeforeTheFirstMeasurement) {
  EXPECT_EQ(EstimatedWaitMs(1'000'000, 0), 0);
  EXPECT_TRUE(CheckAdmission({2000, 0, 0}, {1000, 1'000'000, 0}, 100, std::nullopt).ok());
}

TEST(Admission, RefusesAWaitThatIsTooLongAndSaysWhenToComeBack) {
  const Status status = CheckAdmission({2000, 0, 0}, {5, 10'000, 2500}, 100, std::nullopt);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_DOUBLE_EQ(status.retry_after_ms(), 2500);
  EXPECT_THAT(status.message(), HasSubstr("2500 ms"));
  EXPECT_THAT(status.message(), HasSubstr("retry in 3 s"));
  EXPECT_TRUE(CheckAdmission({2000, 0, 0}, {5, 10'000, 2000}, 100, std::nullopt).ok());
}

TEST(Admission, RefusesWhatWouldMissItsDeadline) {
  const AdmissionView view{5, 10'000, 500};
  EXPECT_TRUE(CheckAdmission({2000, 0, 0}, view, 100, milliseconds(600)).ok());
  const Status status = CheckAdmission({2000, 0, 0}, view, 100, milliseconds(400));
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("deadline is 400 ms"));
  EXPECT_DOUBLE_EQ(status.retry_after_ms(), 1000);  // at least a second
}

TEST(Admission, CapsRequestsAndTokens) {
  EXPECT_THAT(CheckAdmission({2000, 0, 10}, {10, 0, 0}, 1, std::nullopt).message(),
              HasSubstr("max_queue_requests is 10"));
  EXPECT_TRUE(CheckAdmission({2000, 0, 10}, {9, 0, 0}, 1, std::nullopt).ok());
  EXPECT_EQ(CheckAdmission({2000, 1000, 0}, {1, 950, 0}, 51, std::nullopt).code(), Code::kResourceExhausted);
  EXPECT_TRUE(CheckAdmission({2000, 1000, 0}, {1, 950, 0}, 50, std::nullopt).ok());
  // Coming back later would not help.
  EXPECT_EQ(CheckAdmission({2000, 1000, 0}, {0, 0, 0}, 1001, std::nullopt).code(), Code::kInvalidArgument);
}

std::vector<InstanceLoad> Loads(std::vector<int64_t> requests) {
  std::vector<InstanceLoad> loads;
  for (const int64_t r : requests) loads.push_back({r >= 0, std::max<int64_t>(r, 0)});  // negative = dead
  return loads;
}

TEST(Routing, FollowsTheDefinitions) {
  using enum Routing;
  EXPECT_EQ(ChooseInstance(kRoundRobin, Loads({0, 0, 0}), -1), 0);
  EXPECT_EQ(ChooseInstance(kRoundRobin, Loads({0, 0, 0}), 0), 1);
  EXPECT_EQ(ChooseInstance(kRoundRobin, Loads({0, 2, 0}), 0), 2);  // next among the idle
  EXPECT_EQ(ChooseInstance(kRoundRobin, Loads({1, 9, 1}), 0), 1);  // none idle: next among all
  EXPECT_EQ(ChooseInstance(kLeastBusy, Loads({3, 1, 1}), 1), 1);
  EXPECT_EQ(ChooseInstance(kFirstAvailable, Loads({3, 0, 0}), 2), 1);
  EXPECT_EQ(ChooseInstance(kFirstAvailable, Loads({3, 1, 1}), 2), 0);  // none idle: the first
  EXPECT_EQ(ChooseInstance(kFirstIdle, Loads({3, 0, 0}), 1), 1);
  EXPECT_EQ(ChooseInstance(kFirstIdle, Loads({3, 2, 1}), 1), 2);  // none idle: fewest
  EXPECT_EQ(ChooseInstance(kSmartIdle, Loads({0, 0, 0}), 1), 2);
  EXPECT_EQ(ChooseInstance(kSmartIdle, Loads({0, 1, 1}), 1), 0);
  EXPECT_EQ(ChooseInstance(kSmartIdle, Loads({2, 1, 3}), 1), 1);
}

TEST(Routing, NeverChoosesADeadInstance) {
  for (int r = 0; r < 5; ++r) {
    const auto routing = static_cast<Routing>(r);
    EXPECT_EQ(ChooseInstance(routing, Loads({-1, 7, -1}), 0), 1) << RoutingName(routing);
    EXPECT_EQ(ChooseInstance(routing, Loads({-1, -1}), 0), -1);
    EXPECT_EQ(*ParseRouting(RoutingName(routing)), routing);
  }
  EXPECT_THAT(ParseRouting("least_buzy").status().message(), HasSubstr("did you mean 'least_busy'"));
}

TEST(BatchBudget, SplitsSmallWorkOverTheWorkersAndCapsLargeWork) {
  BudgetView view{.batch_tokens = 256, .backlog = 10'000, .workers = 4};
  EXPECT_EQ(BatchBudget(view), 256);
  view.backlog = 500;
  EXPECT_EQ(BatchBudget(view), 125);
  view.backlog = 30;
  EXPECT_EQ(BatchBudget(view), 64);
}

TEST(BatchBudget, GivesPaddedBackendsAQuantumOfTime) {
  BudgetView view{.batch_tokens = 16'000, .padded = true, .backlog = 100, .workers = 4};
  EXPECT_EQ(BatchBudget(view), 16'000);  // not measured yet
  view.units_per_second = 200'000;
  EXPECT_EQ(BatchBudget(view), 4000);  // 20 ms
  view.units_per_second = 10;
  EXPECT_EQ(BatchBudget(view), 2000);
}

TEST(Window, ClosesByTimeByCountOrByTokens) {
  VirtualClock clock;
  BatchWindow window({true, 3, milliseconds(50), false, 1000});
  EXPECT_EQ(window.closes(), std::nullopt);
  EXPECT_EQ(window.Join(7, clock.Now(), 100).window, 7u);
  clock.Advance(milliseconds(49));
  EXPECT_EQ(window.CloseAt(clock.Now()), 0u);
  EXPECT_EQ(window.Join(8, clock.Now(), 100).window, 7u);
  clock.Advance(milliseconds(1));  // 50 ms after the first request, not after the last
  EXPECT_EQ(window.CloseAt(clock.Now()), 7u);
  EXPECT_EQ(window.CloseAt(clock.Now()), 0u);
  EXPECT_FALSE(window.Join(9, clock.Now(), 100).full);
  EXPECT_FALSE(window.Join(10, clock.Now(), 100).full);
  const auto last = window.Join(11, clock.Now(), 100);
  EXPECT_TRUE(last.full);
  EXPECT_EQ(last.window, 9u);
  EXPECT_EQ(window.closes(), std::nullopt);
  EXPECT_FALSE(window.Join(12, clock.Now(), 999).full);
  EXPECT_TRUE(window.Join(13, clock.Now(), 1).full);
  EXPECT_TRUE(window.Join(14, clock.Now(), 5000).full);
}

// A flow of the fair queue with its pairs.
class FlowMaker {
 public:
  std::shared_ptr<Job> Add(FairQueue* queue, const std::vector<int>& lengths, const std::string& tenant = "",
                           double weight = 1) {
    auto job = std::make_shared<Job>(ScoreRequest::ForQuery("q", std::vector<std::string>(lengths.size())),
                                     nullptr, false);
    job->flow = next_++;
    queue->Open(job->flow, tenant, weight, false);
    std::vector<QueuedPair> pairs;
    for (size_t i = 0; i < lengths.size(); ++i)
      pairs.push_back({job.get(), static_cast<int32_t>(i), lengths[i]});
    queue->Push(job->flow, pairs);
    jobs_.push_back(job);
    return job;
  }
  const std::vector<std::shared_ptr<Job>>& jobs() const { return jobs_; }

 private:
  uint64_t next_ = 1;
  std::vector<std::shared_ptr<Job>> jobs_;
};

std::vector<int> Random(std::mt19937* random, int count, int longest) {
  std::vector<int> lengths;
  for (int i = 0; i < count; ++i) lengths.push_back(std::uniform_int_distribution(1, longest)(*random));
  return lengths;
}

TEST(FairQueue, HandsOutEveryPairOnceInTheOrderOfItsFlow) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    FairQueue queue(256, false);
    FlowMaker flows;
    int64_t tokens = 0;
    for (int f = 0; f < 20; ++f) {
      const auto lengths = Random(&random, 1 + static_cast<int>(random() % 60), 512);
      for (const int length : lengths) tokens += length;
      flows.Add(&queue, lengths, f % 3 == 0 ? "a" : "b", f % 3 == 0 ? 0.5 : 3);
    }
    EXPECT_EQ(queue.tokens(), tokens);
    std::map<const Job*, int> next;
    int popped = 0, total = 0;
    while (queue.Peek(0) != nullptr) {
      const QueuedPair pair = queue.Pop();
      ASSERT_EQ(pair.index, next[pair.job]++);
      ++popped;
    }
    for (const auto& job : flows.jobs()) total += job->size();
    EXPECT_EQ(popped, total);
    EXPECT_TRUE(queue.empty());
  }
}

// Once all have used up their credit and while all are backlogged, none gets ahead of another by more than
// two turns and what deficits carry over (less than a pair each).
TEST(FairQueue, SharesTokensFairlyBetweenFlows) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const int64_t quantum = 512, longest = 512;
    FairQueue queue(quantum, false);
    FlowMaker flows;
    for (int f = 0; f < 5; ++f) flows.Add(&queue, Random(&random, 4000, f % 2 == 0 ? 512 : 20));
    for (int64_t total = 0; total < 20 * quantum; total += queue.Pop().tokens) queue.Peek(0);
    ASSERT_EQ(queue.FreshTokens(1), 0);
    std::map<const Job*, int64_t> served;
    for (const auto& job : flows.jobs()) served[job.get()] = 0;
    for (int64_t total = 0; total < 100'000;) {
      queue.Peek(0);
      const QueuedPair pair = queue.Pop();
      served[pair.job] += pair.tokens;
      total += pair.tokens;
      const auto [least, most] = std::minmax_element(
          served.begin(), served.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
      ASSERT_LE(most->second - least->second, 2 * (quantum + longest)) << total;
    }
  }
}

TEST(FairQueue, SharesBetweenTenantsByWeightWhateverTheirNumberOfRequests) {
  FairQueue queue(512, false);
  FlowMaker flows;
  const auto single = flows.Add(&queue, std::vector<int>(3000, 50), "gold", 3);
  for (int f = 0; f < 30; ++f) flows.Add(&queue, std::vector<int>(1000, 50), "common", 1);
  int64_t gold = 0, all = 0;
  while (all < 150'000) {
    queue.Peek(0);
    const QueuedPair pair = queue.Pop();
    all += pair.tokens;
    if (pair.job == single.get()) gold += pair.tokens;
  }
  EXPECT_NEAR(static_cast<double>(gold) / static_cast<double>(all), 0.75, 0.01);
}

TEST(FairQueue, ANewSmallFlowIsServedNext) {
  FairQueue queue(512, false);
  FlowMaker flows;
  flows.Add(&queue, std::vector<int>(1000, 70));
  for (int i = 0; i < 100; ++i) {
    queue.Peek(0);
    queue.Pop();
  }
  const auto small = flows.Add(&queue, std::vector<int>(5, 70));
  for (int i = 0; i < 5; ++i) {
    queue.Peek(0);
    ASSERT_EQ(queue.Pop().job, small.get()) << i;
  }
}

TEST(FairQueue, AStreamOfNewFlowsLeavesOldOnesHalf) {
  FairQueue queue(512, false);
  FlowMaker flows;
  const auto large = flows.Add(&queue, std::vector<int>(2000, 50));
  int64_t served = 0, all = 0;
  while (all < 50'000) {
    flows.Add(&queue, std::vector<int>(5, 50));  // more than is ever served
    for (int i = 0; i < 5; ++i) {
      queue.Peek(0);
      const QueuedPair pair = queue.Pop();
      all += pair.tokens;
      if (pair.job == large.get()) served += pair.tokens;
    }
  }
  EXPECT_GT(static_cast<double>(served) / static_cast<double>(all), 0.45);
}

TEST(FairQueue, CloseDropsWhatIsLeftOfOneJobOnly) {
  FairQueue queue(512, false);
  FlowMaker flows;
  const auto a = flows.Add(&queue, {10, 20, 30});
  const auto b = flows.Add(&queue, {1, 2, 3});
  queue.Peek(0);
  EXPECT_EQ(queue.Pop().job, a.get());
  queue.Close(*a);
  EXPECT_EQ(queue.tokens(), 6);
  for (int i = 0; i < 3; ++i) {
    ASSERT_NE(queue.Peek(0), nullptr);
    EXPECT_EQ(queue.Pop().job, b.get());
  }
  EXPECT_EQ(queue.Peek(0), nullptr);
}

TEST(FairQueue, HoldsAFlowUntilItIsReleased) {
  FairQueue queue(512, false);
  Job job(ScoreRequest::ForQuery("q", {"d"}), nullptr);
  job.flow = 1;
  queue.Open(1, "", 1, true);
  queue.Push(1, std::vector<QueuedPair>{{&job, 0, 9}});
  EXPECT_EQ(queue.Peek(0), nullptr);
  EXPECT_EQ(queue.tokens(), 0);
  queue.Release(1);
  EXPECT_EQ(queue.tokens(), 9);
  EXPECT_NE(queue.Peek(0), nullptr);
}

// Batches until the queue is empty; checks the budget of each.
std::vector<MicroBatch> TakeAll(FairQueue* queue, const BatchLimits& limits) {
  std::vector<MicroBatch> batches;
  while (true) {
    MicroBatch batch;
    EXPECT_EQ(TakeBatch(limits, TimePoint(), queue, &batch), nullptr);
    if (batch.pairs.empty()) return batches;
    const int rows = static_cast<int>(batch.pairs.size());
    if (rows > 1) {
      EXPECT_LE(BatchCost(limits.padded, rows, batch.tokens, batch.longest), limits.budget);
      EXPECT_TRUE(limits.max_rows == 0 || rows <= limits.max_rows);
    }
    batches.push_back(std::move(batch));
  }
}

TEST(TakeBatch, StaysWithinTheBudgetAndLosesNothing) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const bool padded = seed % 2 == 1;
    const BatchLimits limits{256 + static_cast<int64_t>(random() % 2000), seed % 3 == 0 ? 7 : 0, padded};
    FairQueue queue(512, padded);
    FlowMaker flows;
    size_t total = 0;
    for (int f = 0; f < 10; ++f) {
      const auto lengths = Random(&random, 1 + static_cast<int>(random() % 40), 512);
      total += lengths.size();
      flows.Add(&queue, lengths);
    }
    std::map<std::pair<const Job*, int>, int> seen;
    size_t shares = 0, taken = 0;
    for (const MicroBatch& batch : TakeAll(&queue, limits)) {
      for (const QueuedPair& pair : batch.pairs) ++seen[{pair.job, pair.index}];
      for (const auto& share : batch.shares) shares += static_cast<size_t>(share.rows);
      taken += batch.pairs.size();
    }
    EXPECT_EQ(seen.size(), total);
    EXPECT_EQ(taken, total);
    EXPECT_EQ(shares, total);
  }
}

TEST(TakeBatch, FillsAMicroBatchFromManySmallRequests) {
  FairQueue queue(512, false);
  FlowMaker flows;
  for (int f = 0; f < 10; ++f) flows.Add(&queue, {50});
  const auto batches = TakeAll(&queue, {256, 0, false});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].shares.size(), 5u);
}

TEST(TakeBatch, DoesNotDelayNewFlowsByFillingUpWithOldOnes) {
  FairQueue queue(100, false);
  FlowMaker flows;
  const auto old = flows.Add(&queue, std::vector<int>(10, 50));
  MicroBatch batch;
  for (int i = 0; i < 2; ++i) {  // uses up its credit
    queue.Peek(0);
    queue.Pop();
  }
  const auto small = flows.Add(&queue, {20, 20});
  const auto other = flows.Add(&queue, {20});
  EXPECT_EQ(queue.FreshTokens(1000), 60);
  TakeBatch({256, 0, false}, TimePoint(), &queue, &batch);
  ASSERT_EQ(batch.shares.size(), 2u);
  EXPECT_EQ(batch.shares[0].job, small);
  EXPECT_EQ(batch.shares[1].job, other);
  batch.Clear();
  TakeBatch({256, 0, false}, TimePoint(), &queue, &batch);
  ASSERT_EQ(batch.shares.size(), 1u);
  EXPECT_EQ(batch.shares[0].job, old);
  EXPECT_EQ(batch.pairs.size(), 5u);
}

TEST(TakeBatch, PacksPairsOfLikeLengthForPaddedBackends) {
  std::mt19937 random(3);
  const auto lengths = Random(&random, 500, 400);
  const BatchLimits limits{8000, 0, true};
  const auto waste = [&](bool by_length) {
    FairQueue queue(16'000, by_length);
    FlowMaker flows;
    flows.Add(&queue, lengths);
    int64_t real = 0, padded = 0;
    for (const MicroBatch& batch : TakeAll(&queue, limits)) {
      real += batch.tokens;
      padded += static_cast<int64_t>(batch.pairs.size()) * batch.longest;
    }
    return 1 - static_cast<double>(real) / static_cast<double>(padded);
  };
  EXPECT_GT(waste(false), 0.3);
  EXPECT_LT(waste(true), 0.1);
}

TEST(TakeBatch, ReturnsAJobThatNobodyWaitsForInsteadOfItsPairs) {
  FairQueue queue(512, false);
  FlowMaker flows;
  const auto gone = flows.Add(&queue, {10, 10});
  const auto late = flows.Add(&queue, {10, 10});
  const auto good = flows.Add(&queue, {10, 10});
  gone->request.cancel.Cancel();
  late->request.deadline = TimePoint(milliseconds(5));
  const BatchLimits limits{256, 0, false};
  MicroBatch batch;
  std::vector<const Job*> lapsed;
  while (Job* job = TakeBatch(limits, TimePoint(milliseconds(5)), &queue, &batch)) {
    lapsed.push_back(job);
    queue.Close(*job);
  }
  EXPECT_THAT(lapsed, ElementsAre(gone.get(), late.get()));
  ASSERT_EQ(batch.pairs.size(), 2u);
  EXPECT_EQ(batch.pairs[0].job, good.get());
}

}  // namespace
}  // namespace rerankd
