// The pure policies one by one: admission, routing, batch budget and packing, window, fair queue.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "scheduler/admission.h"
#include "scheduler/batch_policy.h"
#include "scheduler/fair_queue.h"
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
  EXPECT_EQ(EstimateTokens(request, 0, 1), 13);
  EXPECT_EQ(EstimateTokens(request, 1, 2), 5);
  EXPECT_EQ(EstimateTokens(request, 2, 3), 128);
  EXPECT_EQ(EstimateTokens(request, 0, 3), 146);
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

TEST(Window, ClosesByTimeOrByCount) {
  VirtualClock clock;
  BatchWindow window({true, 3, milliseconds(50), false});
  EXPECT_EQ(window.closes(), std::nullopt);
  EXPECT_EQ(window.Join(7, clock.Now()).window, 7u);
  clock.Advance(milliseconds(49));
  EXPECT_EQ(window.CloseAt(clock.Now()), 0u);
  EXPECT_EQ(window.Join(8, clock.Now()).window, 7u);
  clock.Advance(milliseconds(1));  // 50 ms after the first request, not after the last
  EXPECT_EQ(window.CloseAt(clock.Now()), 7u);
  EXPECT_EQ(window.CloseAt(clock.Now()), 0u);
  EXPECT_FALSE(window.Join(9, clock.Now()).full);
  EXPECT_FALSE(window.Join(10, clock.Now()).full);
  const auto last = window.Join(11, clock.Now());
  EXPECT_TRUE(last.full);
  EXPECT_EQ(last.window, 9u);
  EXPECT_EQ(window.closes(), std::nullopt);
}

// A flow of the fair queue with its pairs.
class FlowMaker {
 public:
  std::shared_ptr<Job> Add(FairQueue* queue, const std::vector<int>& lengths, const std::string& tenant = "",
                           double weight = 1) {
    auto job =
        std::make_shared<Job>(ScoreRequest::ForQuery("q", std::vector<std::string>(lengths.size())), nullptr);
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
