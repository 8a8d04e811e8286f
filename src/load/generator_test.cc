// Loads on a virtual clock: what is sent when, and what the latencies of an open and a closed loop say.
#include "load/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "load/capacity.h"
#include "load/ideal.h"
#include "load/machine_speed.h"
#include "load/max_rate.h"
#include "load/result.h"
#include "load/spread.h"
#include "load/summary.h"
#include "load/testing/scripted_client.h"
#include "load/warm_up.h"

namespace rerankd::load {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class GeneratorTest : public testing::Test {
 protected:
  LoadStats Run(const LoadPlan& plan, std::unique_ptr<Arrivals> arrivals, ScriptedClient::Script script) {
    ScriptedClient client(clock_, std::move(script));
    LoadHooks hooks;
    hooks.clock = &clock_;
    hooks.sink = [this](const Sample& sample) {
      samples_.push_back(sample);
      if (static_cast<int64_t>(samples_.size()) == interrupt_after_) interrupt_ = true;
    };
    return RunLoad(plan, *arrivals, client, interrupt_, hooks);
  }
  std::vector<double> Latencies() const {
    std::vector<double> values;
    for (const Sample& sample : samples_) values.push_back(sample.latency_ms);
    return values;
  }

  VirtualClock clock_;
  std::vector<Sample> samples_;
  std::atomic<bool> interrupt_{false};
  int64_t interrupt_after_ = -1;
};

ArrivalSpec Count(int64_t requests) {
  ArrivalSpec spec;
  spec.requests = requests;
  spec.dataset_pairs = 5;
  return spec;
}

ScriptedClient::Answer Failure(Outcome outcome) {
  ScriptedClient::Answer answer{1, {}};
  answer.reply.outcome = outcome;
  answer.reply.detail = "no";
  return answer;
}

TEST(Arrivals, ConstantOnesAreEvenlySpacedAndWrapTheDataSet) {
  ArrivalSpec spec;
  spec.pairs = 2;
  spec.dataset_pairs = 5;
  spec.duration_s = 0.4;
  const auto arrivals = MakeConstant(spec, 10);
  std::vector<double> at;
  std::vector<int64_t> first;
  while (const auto arrival = arrivals->Next()) {
    at.push_back(ToMs(arrival->at));
    first.push_back(arrival->work.first);
  }
  EXPECT_THAT(at, ElementsAre(0, 100, 200, testing::DoubleNear(300, 1e-3)));
  EXPECT_THAT(first, ElementsAre(0, 2, 4, 1));
}

TEST(Arrivals, PoissonGapsAreExponentialAndRepeatable) {
  constexpr int kCount = 20'000;
  const auto gaps = [&](uint64_t seed) {
    const auto arrivals = MakePoisson(Count(kCount), 100, seed);
    std::vector<double> values;
    double last = 0;
    while (const auto arrival = arrivals->Next()) {
      values.push_back(ToMs(arrival->at) - last);
      last = ToMs(arrival->at);
    }
    return values;
  };
  const std::vector<double> values = gaps(7);
  ASSERT_THAT(values, SizeIs(kCount));
  double sum = 0, squares = 0;
  int above_mean = 0;
  for (const double gap : values) {
    sum += gap;
    squares += gap * gap;
    above_mean += gap > 10 ? 1 : 0;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 10, 0.3);
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), 10, 0.4);  // an exponential's deviation is its mean
  EXPECT_NEAR(above_mean / double{kCount}, std::exp(-1), 0.02);
  EXPECT_EQ(values, gaps(7));
  EXPECT_NE(values, gaps(8));
}

TEST_F(GeneratorTest, AClosedLoopKeepsItsNumberInFlight) {
  LoadPlan plan;
  plan.in_flight = 3;
  const LoadStats stats = Run(plan, MakeImmediate(Count(10)), FifoTarget(3, 10));
  EXPECT_EQ(stats.sent, 10);
  EXPECT_EQ(stats.peak_in_flight, 3);
  EXPECT_DOUBLE_EQ(stats.seconds, 0.040);  // 3 + 3 + 3 + 1
  EXPECT_THAT(Latencies(), Each(testing::DoubleNear(10, 1e-6)));
  EXPECT_FALSE(stats.cut);
}

TEST_F(GeneratorTest, AClosedLoopStopsInTimeAndWaitsForWhatIsInFlight) {
  LoadPlan plan;
  plan.in_flight = 2;
  plan.stop_after_s = 0.095;
  const LoadStats stats = Run(plan, MakeImmediate({1, 5, {}, {}}), FifoTarget(2, 10));
  EXPECT_EQ(stats.sent, 20);
  EXPECT_THAT(samples_, SizeIs(20));
  EXPECT_TRUE(stats.cut);
}

// One stall of a second: a closed loop sees one slow request, an open one all that were due meanwhile.
TEST_F(GeneratorTest, AnOpenLoopDoesNotOmitWhatAStalledTargetDelays) {
  const auto stall = [busy = TimePoint(), first = true](const Work&, TimePoint sent) mutable {
    busy = std::max(busy, sent) + FromMs(first ? 1000 : 1);
    first = false;
    return ScriptedClient::Answer{ToMs(busy - sent), {}};
  };
  Run({}, MakeImmediate(Count(200)), stall);
  Summary closed(0);
  for (const Sample& sample : samples_) closed.Add(sample);
  EXPECT_NEAR(closed.latency().Percentile(99), 1, 0.01);

  samples_.clear();
  LoadPlan open;
  open.open = true;
  open.in_flight = 1000;
  Run(open, MakeConstant(Count(200), 100), stall);
  Summary opened(0);
  for (const Sample& sample : samples_) opened.Add(sample);
  EXPECT_NEAR(opened.latency().Percentile(50), 110, 15);
  EXPECT_GT(opened.latency().Percentile(99), 980);
}

TEST_F(GeneratorTest, RequestsOverTheBoundWaitAndTheWaitCounts) {
  LoadPlan plan;
  plan.open = true;
  plan.in_flight = 2;
  const LoadStats stats = Run(plan, MakeConstant(Count(4), 1000), FifoTarget(2, 10));
  EXPECT_EQ(stats.held, 2);
  EXPECT_EQ(stats.peak_in_flight, 2);
  EXPECT_THAT(Latencies(), ElementsAre(testing::DoubleNear(10, 1e-6), testing::DoubleNear(10, 1e-6),
                                       testing::DoubleNear(18, 1e-6), testing::DoubleNear(18, 1e-6)));
  EXPECT_NEAR(samples_[2].sent_ms - samples_[2].intended_ms, 8, 1e-6);
}

TEST_F(GeneratorTest, ARequestThatIsDueAfterTheBoundWasReachedIsNotLate) {
  LoadPlan plan;
  plan.open = true;
  plan.in_flight = 1;
  Run(plan, MakeReplay({{FromMs(0), {0, 0, 1}}, {FromMs(5), {1, 1, 1}}, {FromMs(30), {2, 2, 1}}}),
      FifoTarget(1, 10));
  ASSERT_THAT(samples_, SizeIs(3));
  EXPECT_NEAR(samples_[1].sent_ms, 10, 1e-6);  // when the first was answered
  EXPECT_NEAR(samples_[2].sent_ms, 30, 1e-6);
}

TEST_F(GeneratorTest, AnInterruptEndsItKeepingWhatIsInFlight) {
  LoadPlan plan;
  plan.in_flight = 2;
  interrupt_after_ = 5;
  const LoadStats stats = Run(plan, MakeImmediate({1, 5, {}, {}}), FifoTarget(2, 30));
  EXPECT_EQ(stats.sent, static_cast<int64_t>(samples_.size()));
  EXPECT_LT(samples_.size(), 20u);
  EXPECT_GE(samples_.size(), 5u);
}

TEST_F(GeneratorTest, TheFirstFailureEndsItOnlyWhenAsked) {
  const auto script = [](const Work& work, TimePoint) {
    return work.index == 3 ? Failure(Outcome::kError) : ScriptedClient::Answer{1, {}};
  };
  LoadPlan plan;
  EXPECT_EQ(Run(plan, MakeImmediate(Count(10)), script).sent, 10);
  plan.stop_on_failure = true;
  EXPECT_EQ(Run(plan, MakeImmediate(Count(10)), script).sent, 4);
}

TEST_F(GeneratorTest, ATargetThatIsGoneEndsIt) {
  const LoadStats stats = Run({}, MakeImmediate({1, 5, {}, {}}), [](const Work& work, TimePoint) {
    return work.index < 7 ? ScriptedClient::Answer{1, {}} : Failure(Outcome::kUnreachable);
  });
  EXPECT_EQ(stats.sent, 107);
  EXPECT_EQ(stats.lost, "the last 100 requests found no target: no");
}

TEST_F(GeneratorTest, ATargetThatWasGoneForAWhileOrAtTheVeryEndOnlyIsMeasured) {
  const auto gone = [this](int64_t from, int64_t to) {
    samples_.clear();
    return Run({}, MakeImmediate(Count(50)), [=](const Work& work, TimePoint) {
      return work.index < from || work.index >= to ? ScriptedClient::Answer{1, {}}
                                                   : Failure(Outcome::kUnreachable);
    });
  };
  EXPECT_EQ(gone(10, 49).lost, "");
  EXPECT_EQ(gone(41, 50).lost, "");
  EXPECT_EQ(gone(40, 50).lost, "the last 10 requests found no target: no");
}

TEST_F(GeneratorTest, RefusalsAreCountedAndDoNotEndIt) {
  Run({}, MakeImmediate(Count(300)), [](const Work& work, TimePoint) {
    if (work.index % 3 != 0) return ScriptedClient::Answer{2, {}};
    ScriptedClient::Answer refused = Failure(Outcome::kRefused);
    refused.reply.status = 429;
    refused.reply.retry_after_s = 2;
    return refused;
  });
  Summary summary(1.5);
  for (const Sample& sample : samples_) summary.Add(sample);
  EXPECT_EQ(summary.requests(), 300);
  EXPECT_EQ(summary.ok(), 200);
  EXPECT_EQ(summary.good(), 0);  // 2 ms each, 1.5 wanted
  ASSERT_THAT(summary.outcomes(), SizeIs(2));
  EXPECT_EQ(summary.outcomes()[1]->status, 429);
  EXPECT_EQ(summary.outcomes()[1]->count, 100);
  EXPECT_EQ(summary.outcomes()[1]->detail, "no");
  EXPECT_EQ(summary.retry_after().count(), 100);
  EXPECT_NEAR(summary.retry_after().max(), 2000, 2);
}

TEST_F(GeneratorTest, WindowsHoldTheRequestsThatWereDueInEachSecond) {
  LoadPlan plan;
  plan.open = true;
  plan.in_flight = 100;
  Run(plan, MakeConstant(Count(25), 10), FifoTarget(1, 5));
  Summary summary(0);
  for (const Sample& sample : samples_) summary.Add(sample);
  ASSERT_THAT(summary.windows(), SizeIs(3));
  EXPECT_EQ(summary.windows()[0].due, 10);
  EXPECT_EQ(summary.windows()[2].ok, 5);
}

TEST_F(GeneratorTest, SummariesOfRepeatsAreThatOfAllRequests) {
  ScriptedClient::Script script = [](const Work& work, TimePoint) {
    return work.index % 4 == 3 ? Failure(Outcome::kRefused)
                               : ScriptedClient::Answer{1.0 + 0.5 * work.index, {}};
  };
  Summary first(2), second(2), all(2);
  Run({true, 100, {}, false}, MakeConstant(Count(8), 5), script);
  for (const Sample& sample : samples_) first.Add(sample), all.Add(sample);
  samples_.clear();
  Run({true, 100, {}, false}, MakeConstant(Count(5), 5), script);
  for (Sample sample : samples_) {
    second.Add(sample);
    sample.intended_ms += 2000;  // behind the two windows of the first
    all.Add(sample);
  }
  first.Merge(second);
  EXPECT_EQ(first.requests(), 13);
  EXPECT_EQ(first.ok(), all.ok());
  EXPECT_EQ(first.good(), all.good());
  EXPECT_GT(first.ok(), first.good());
  EXPECT_EQ(first.ok_pairs(), all.ok_pairs());
  EXPECT_EQ(first.latency().mean(), all.latency().mean());
  EXPECT_EQ(first.latency().max(), all.latency().max());
  EXPECT_EQ(first.timing_error().count(), 13);
  ASSERT_THAT(first.outcomes(), SizeIs(2));
  EXPECT_EQ(first.outcomes()[1]->count, 3);
  EXPECT_EQ(first.outcomes()[1]->latency.count(), 3);
  EXPECT_EQ(first.outcomes()[1]->detail, "no");
  ASSERT_EQ(first.windows().size(), all.windows().size());
  for (size_t i = 0; i < all.windows().size(); ++i) EXPECT_EQ(first.windows()[i].due, all.windows()[i].due);
}

TEST(Spread, IntervalsAreStudents) {
  const auto interval = IntervalOfMean(std::vector<double>{9, 10, 11});
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->mean, 10, 1e-12);
  EXPECT_NEAR(interval->high - interval->mean, 4.303 / std::sqrt(3), 1e-9);
  EXPECT_EQ(IntervalOfMean(std::vector<double>{1, 10, 100})->low, 0) << "no rate is negative";
  EXPECT_FALSE(IntervalOfMean(std::vector<double>{1, 2}));
  EXPECT_NEAR(Student975(1000), 1.962, 0.001);
}

TEST(Spread, WhatIsFarFromTheMedianIsAnOutlier) {
  EXPECT_THAT(OutliersOf(std::vector<double>{100, 101, 60, 99, 100, 140}), ElementsAre(2, 5));
  EXPECT_THAT(OutliersOf(std::vector<double>{100, 100, 100, 104}), testing::IsEmpty()) << "within 5 %";
  EXPECT_THAT(OutliersOf(std::vector<double>{100, 60}), testing::IsEmpty());
  EXPECT_EQ(Median({3, 1, 2, 10}), 2.5);
  EXPECT_EQ(Median({}), 0);
}

TEST(Spread, ADriftIsLargeAndCertain) {
  const auto fell = DriftOf(std::vector<double>{100, 101, 99, 80, 81, 79});
  ASSERT_TRUE(fell);
  EXPECT_NEAR(*fell, -0.2, 1e-9);
  EXPECT_FALSE(DriftOf(std::vector<double>{100, 101, 99, 98, 97, 96})) << "small";
  EXPECT_FALSE(DriftOf(std::vector<double>{100, 50, 150, 80, 30, 130})) << "not certain";
  EXPECT_FALSE(DriftOf(std::vector<double>{100, 50}));
}

TEST(WarmUp, SteadyMeansThreeRatesNearTheirMean) {
  EXPECT_FALSE(IsSteady(std::vector<double>{100, 100}));
  EXPECT_TRUE(IsSteady(std::vector<double>{10, 100, 102, 98}));
  EXPECT_FALSE(IsSteady(std::vector<double>{100, 100, 120}));
  EXPECT_FALSE(IsSteady(std::vector<double>{0, 0, 0}));
}

TEST_F(GeneratorTest, AClockThatGoesBackGivesNoNegativeTimes) {
  LoadPlan plan;
  const auto script = [this](const Work& work, TimePoint) {
    if (work.index == 3) clock_.Advance(-std::chrono::seconds(5));
    return ScriptedClient::Answer{2, {}};
  };
  const LoadStats stats = Run(plan, MakeImmediate(Count(10)), script);
  EXPECT_GT(stats.clock_went_back, 0);
  ASSERT_THAT(samples_, SizeIs(10));
  Summary summary(0);
  for (const Sample& sample : samples_) {
    EXPECT_GE(sample.latency_ms, 0);
    EXPECT_GE(sample.sent_ms, sample.intended_ms);
    EXPECT_GE(sample.intended_ms, 0);
    summary.Add(sample);
  }
  EXPECT_EQ(summary.ok(), 10);
  EXPECT_GE(stats.seconds, 0);
}

TEST(Warnings, AClockThatWentBackIsTold) {
  LoadResult result;
  result.stats.clock_went_back = 3;
  EXPECT_THAT(Warnings(LoadOptions(), result), testing::Contains(HasSubstr("the clock went back 3 times")));
}

TEST(IdealServer, OneServerIsAQueue) {
  const std::vector<IdealRequest> requests = {{0, 10, 12}, {1, 10, 12}, {50, 20, 22}, {55, 1, 3}};
  EXPECT_THAT(IdealLatencies(requests, 1), ElementsAre(12, 21, 22, 18));
  EXPECT_THAT(IdealLatencies(requests, 2), ElementsAre(12, 12, 22, 3));
}

// M/M/1: latency is exponential with mean 1 / (service rate - arrival rate); M/M/c waits less.
TEST(IdealServer, AgreesWithQueueingTheory) {
  constexpr double kRate = 80, kMeanMs = 10;
  std::mt19937_64 random(3);
  std::exponential_distribution<double> service(1 / kMeanMs);
  const auto arrivals = MakePoisson(Count(400'000), kRate, 11);
  std::vector<IdealRequest> requests;
  while (const auto arrival = arrivals->Next()) {
    const double ms = service(random);
    requests.push_back({ToMs(arrival->at), ms, ms});
  }
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  EXPECT_NEAR(mean(IdealLatencies(requests, 1)), 50, 5);
  EXPECT_NEAR(mean(IdealLatencies(requests, 2)), 10 / (1 - 0.16), 0.3);  // M/M/2 at a load of 0.4
}

TEST(IdealServer, HasTheCapacityOfTheTargetAndTheTimesOfItsRequests) {
  AloneTimes alone;
  for (const double ms : {9.0, 10.0, 500.0}) alone.Add({0, 0, 2}, ms);
  alone.Add({1, 2, 2}, 30);
  EXPECT_EQ(alone.works(), 2u);
  EXPECT_EQ(alone.Of({7, 0, 2}), 10);
  EXPECT_EQ(alone.Of({7, 4, 2}), 20) << "the mean for one that was not measured";
  // 100 requests/s at 20 ms each: two at once.
  const IdealComparison two = CompareWithIdeal({{0, {0, 0, 2}}, {0, {1, 2, 2}}}, alone, 100);
  EXPECT_EQ(two.servers, 2);
  EXPECT_NEAR(two.latency.max(), 30, 0.1);
  // 45 requests/s: one at a time, each 1 / 45 s in the mean.
  const IdealComparison one = CompareWithIdeal({{0, {1, 2, 2}}, {0, {0, 0, 2}}}, alone, 45);
  EXPECT_EQ(one.servers, 1);
  EXPECT_NEAR(one.latency.max(), 1000.0 / 45 * 1.5 + 10, 0.1);
}

TEST_F(GeneratorTest, AloneTimesAreThoseOfEveryWork) {
  ScriptedClient client(clock_, [](const Work& work, TimePoint) {
    return ScriptedClient::Answer{5.0 + static_cast<double>(work.first), {}};
  });
  // The clock of the real world never moves here: only the number of requests ends it.
  const AloneTimes alone = MeasureAlone(2, 5, 1e9, client, interrupt_);
  EXPECT_EQ(alone.works(), 5u) << "pairs 0, 2, 4, 1, 3";
}

TEST(RateSearch, FindsTheRateWithinItsResolution) {
  for (const double limit : {3.7, 79.0, 123.4, 1000.0}) {
    RateSearch search(100);
    int trials = 0;
    while (const auto rate = search.Next()) {
      search.Record(*rate, *rate <= limit);
      ++trials;
    }
    EXPECT_LE(search.found(), limit);
    EXPECT_GE(search.found(), limit / 1.05) << limit;
    EXPECT_TRUE(search.confirmed());
    EXPECT_LE(trials, RateSearch::kMostTrials);
  }
}

TEST(RateSearch, TakesBackARateThatWasMetByLuck) {
  RateSearch search(100);
  int at_100 = 0;
  while (const auto rate = search.Next()) {
    const bool lucky = *rate == 100 && at_100++ == 0;
    search.Record(*rate, lucky || *rate <= 80);
  }
  EXPECT_LE(search.found(), 80);
  EXPECT_GE(search.found(), 80 / 1.05);
}

TEST(RateSearch, GivesUpWhereNothingIsMet) {
  RateSearch search(64);
  int trials = 0;
  while (const auto rate = search.Next()) {
    search.Record(*rate, false);
    ++trials;
  }
  EXPECT_EQ(search.found(), 0);
  EXPECT_LE(trials, 8);
}

TEST(MachineSpeed, IsMeasuredAndCompared) {
  const MachineSpeed speed = MeasureMachineSpeed();
  EXPECT_GT(speed.step_ns, 0.1);
  EXPECT_LT(speed.step_ns, 1000);
  EXPECT_GE(speed.disturbance, 0);
  EXPECT_NEAR(SpeedChange({1.0, 0}, {1.25, 0}), -0.2, 1e-9);
  EXPECT_EQ(SpeedChange({}, {1.25, 0}), 0);
}

}  // namespace
}  // namespace rerankd::load
