// Loads on a virtual clock: what is sent when, and what the latencies of an open and a closed loop say.
#include "load/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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
  EXPECT_THAT(stats.lost, HasSubstr("100 requests in a row"));
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

TEST(WarmUp, SteadyMeansThreeRatesNearTheirMean) {
  EXPECT_FALSE(IsSteady(std::vector<double>{100, 100}));
  EXPECT_TRUE(IsSteady(std::vector<double>{10, 100, 102, 98}));
  EXPECT_FALSE(IsSteady(std::vector<double>{100, 100, 120}));
  EXPECT_FALSE(IsSteady(std::vector<double>{0, 0, 0}));
}

}  // namespace
}  // namespace rerankd::load
