// The reference definitions on a clock that stands still: every expected number is worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "serving/metrics/process_usage.h"
#include "serving/metrics/reference_json.h"
#include "serving/metrics/reference_metrics.h"
#include "serving/metrics/statistics.h"
#include "serving/metrics/utilization.h"

namespace rerankd::serving {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

TEST(Statistics, PercentilesInterpolateLinearly) {
  const std::vector<double> latencies = {36.51, 39.075, 44.86, 48.665, 165.14};
  EXPECT_DOUBLE_EQ(Percentile(latencies, 50), 44.86);
  EXPECT_NEAR(Percentile(latencies, 95), 48.665 + 0.8 * (165.14 - 48.665), 1e-9);  // position 3.8
  EXPECT_DOUBLE_EQ(Percentile(latencies, 100), 165.14);
  EXPECT_EQ(Percentile({}, 50), 0);
}

TEST(Statistics, RoundsTheBinaryValueHalfToEven) {
  EXPECT_EQ(RoundTo(2.675, 2), 2.67);  // the double is just below
  EXPECT_EQ(RoundTo(0.125, 2), 0.12);  // exactly half
  EXPECT_EQ(RoundTo(0.375, 2), 0.38);
  EXPECT_EQ(RoundTo(-3.14159, 1), -3.1);
}

RequestRecord Request(double latency_ms, int pairs = 2) {
  RequestRecord r;
  r.latency_ms = latency_ms;
  r.pairs = pairs;
  r.worker = 0;
  r.timings = {1, 2, 50, 40, latency_ms};  // queue, tokenize, inference, compute, total
  // 60 real tokens of 2 x 40 padded: 25 % waste.
  r.counts = {.real = 60, .computed = 60, .longest = 40, .truncated_pairs = 1, .pairs = 2};
  return r;
}

TEST(Padding, CountsWhatWasRun) {
  // Five documents: one cached, two equal to another one, two pairs run.
  EXPECT_EQ(PaddingPercent({.real = 60, .longest = 40, .pairs = 2, .duplicates = 2, .cached = 1}), 25);
  // One document in three windows.
  EXPECT_EQ(PaddingPercent({.real = 30, .longest = 10, .pairs = 3}), 0);
  EXPECT_EQ(PaddingPercent({.cached = 3}), 0);
}

class ReferenceMetricsTest : public testing::Test {
 protected:
  VirtualClock clock_;
  ReferenceMetrics metrics_{clock_};
};

TEST_F(ReferenceMetricsTest, StartsEmpty) {
  const MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_FALSE(s.is_running);
  EXPECT_EQ(s.count, 0);
  EXPECT_EQ(s.latency.p99, 0);
}

TEST_F(ReferenceMetricsTest, WindowHoldsTheCompletionsOfTheLastSecond) {
  metrics_.Record(Request(100));
  clock_.Advance(milliseconds(600));
  metrics_.Record(Request(200));
  clock_.Advance(milliseconds(400));  // the first is exactly 1 s old: still in
  MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_EQ(s.throughput_qps, 4);
  EXPECT_DOUBLE_EQ(s.instant_latency_ms, 150);
  EXPECT_DOUBLE_EQ(s.utilization_pct, 10);  // 100 ms of inference in 1 s
  EXPECT_EQ(s.tokens_per_second, 120);
  EXPECT_DOUBLE_EQ(s.avg_throughput_qps, 4);

  clock_.Advance(milliseconds(1));
  s = metrics_.Snapshot();
  EXPECT_EQ(s.throughput_qps, 2);
  EXPECT_DOUBLE_EQ(s.instant_latency_ms, 200);

  clock_.Advance(milliseconds(1000));  // window empty: the last latency stays
  s = metrics_.Snapshot();
  EXPECT_EQ(s.throughput_qps, 0);
  EXPECT_DOUBLE_EQ(s.instant_latency_ms, 200);
}

TEST_F(ReferenceMetricsTest, WindowHoldsAtMost200Requests) {
  for (int i = 0; i < 250; ++i) metrics_.Record(Request(i < 50 ? 1000 : 10, 1));
  const MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_EQ(s.throughput_qps, 200);
  EXPECT_DOUBLE_EQ(s.instant_latency_ms, 10);
  EXPECT_DOUBLE_EQ(s.utilization_pct, 100);  // clipped: 10 s of inference in 1 s
  EXPECT_EQ(s.count, 250);
}

TEST_F(ReferenceMetricsTest, IsRunningForTwoSecondsAfterARequest) {
  metrics_.Record(Request(1));
  clock_.Advance(milliseconds(1999));
  EXPECT_TRUE(metrics_.Snapshot().is_running);
  clock_.Advance(milliseconds(1));
  EXPECT_FALSE(metrics_.Snapshot().is_running);
}

TEST_F(ReferenceMetricsTest, PaddingIsTheMeanOfRequestsAndZeroNeverOverwritesALastValue) {
  metrics_.Record(Request(100));  // 25 %
  RequestRecord even = Request(100);
  even.counts = {80, 80, 40, 0};  // 0 %
  even.timings.queue_ms = 0;
  metrics_.Record(even);
  const MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_DOUBLE_EQ(s.avg_padding_pct, 12.5);
  EXPECT_DOUBLE_EQ(s.last_padding_pct, 25);
  EXPECT_DOUBLE_EQ(s.last_queue_wait_ms, 1);
  EXPECT_EQ(s.last_max_seq_length, 40);
  EXPECT_DOUBLE_EQ(s.last_avg_seq_length, 40);
  EXPECT_EQ(s.real_tokens, 140);
  EXPECT_EQ(s.truncated_pairs, 1);
}

TEST_F(ReferenceMetricsTest, HistoryGrowsOnlyWhileRequestsArrive) {
  metrics_.Sample({});
  EXPECT_TRUE(metrics_.Snapshot().history.empty());  // nothing ran yet

  metrics_.Record(Request(178.846));
  clock_.Advance(milliseconds(540));
  metrics_.Sample({1.46, 1137.649, 0, 0});
  metrics_.Sample({1.46, 1137.649, 0, 0});  // the count has not grown
  ASSERT_EQ(metrics_.Snapshot().history.size(), 1u);
  const HistoryPoint p = metrics_.Snapshot().history[0];
  EXPECT_EQ(p.timestamp, 0.5);
  EXPECT_EQ(p.latency_ms, 178.85);
  EXPECT_EQ(p.throughput, 2);
  EXPECT_EQ(p.queries, 2);
  EXPECT_EQ(p.cpu_percent, 1.5);
  EXPECT_EQ(p.memory_mb, 1137.6);
  EXPECT_EQ(p.utilization_pct, 5);
  EXPECT_EQ(p.padding_pct, 25);

  metrics_.Record(Request(10));
  clock_.Advance(milliseconds(2000));
  metrics_.Sample({});  // grown, but no longer running
  EXPECT_EQ(metrics_.Snapshot().history.size(), 1u);
}

TEST_F(ReferenceMetricsTest, WorkersKeepTheirOwnTotals) {
  metrics_.Record(Request(100));
  RequestRecord other = Request(300, 6);
  other.worker = 1;
  metrics_.Record(other);
  clock_.Advance(milliseconds(2000));
  const MetricsSnapshot s = metrics_.Snapshot();
  ASSERT_EQ(s.workers.size(), 2u);
  EXPECT_EQ(s.workers[1].pairs, 6);
  EXPECT_DOUBLE_EQ(s.workers[1].throughput_qps, 3);
  EXPECT_DOUBLE_EQ(s.workers[1].latency.p50, 300);
}

TEST_F(ReferenceMetricsTest, WorkerUtilizationIsMeasuredBusyTime) {
  metrics_.Sample({0, 0, 1000, 2});
  clock_.Advance(milliseconds(500));
  metrics_.Sample({0, 0, 1600, 2});  // 600 of 2 x 500 ms
  EXPECT_DOUBLE_EQ(metrics_.Snapshot().worker_utilization_pct, 60);
}

TEST_F(ReferenceMetricsTest, CountsAndMeansOutliveTheKeptRequests) {
  const int n = static_cast<int>(ReferenceMetrics::kKeptRequests);
  for (int i = 0; i < n; ++i) metrics_.Record(Request(30));
  for (int i = 0; i < n; ++i) metrics_.Record(Request(10));
  const MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_EQ(s.count, 2 * n);
  EXPECT_DOUBLE_EQ(s.latency.avg, 20);
  EXPECT_DOUBLE_EQ(s.latency.p99, 10);
}

TEST_F(ReferenceMetricsTest, ResetForgetsEverything) {
  metrics_.Record(Request(100));
  metrics_.Sample({});
  clock_.Advance(milliseconds(700));
  metrics_.Reset();
  metrics_.Record(Request(5));
  clock_.Advance(milliseconds(300));
  metrics_.Sample({});
  const MetricsSnapshot s = metrics_.Snapshot();
  EXPECT_EQ(s.count, 1);
  ASSERT_EQ(s.history.size(), 1u);
  EXPECT_EQ(s.history[0].timestamp, 0.3);  // seconds since the reset
  ASSERT_EQ(s.workers.size(), 1u);
  EXPECT_EQ(s.workers[0].requests, 1);
}

const ServerIdentity kIdentity = {"06a", "concurrency", "native", "cpu", "full", "default", {"default"}, {}};

std::vector<std::string> Keys(const nlohmann::ordered_json& json) {
  std::vector<std::string> keys;
  for (const auto& item : json.items()) keys.push_back(item.key());
  return keys;
}

TEST_F(ReferenceMetricsTest, JsonBeforeTheFirstRequestHasOnlyTheIdentityKeys) {
  const auto json = nlohmann::ordered_json::parse(ReferenceJson(kIdentity, metrics_.Snapshot(), {}));
  EXPECT_THAT(Keys(json),
              ElementsAre("experiment_name", "experiment_description", "backend_type", "device", "is_running",
                          "query_count", "cpu_percent", "gpu_memory_mb", "history"));
  EXPECT_THAT(
      Keys(json["history"]),
      ElementsAre("timestamps", "latencies", "throughput", "queries", "cpu_percent", "gpu_memory_mb",
                  "gpu_utilization_pct", "queue_wait_ms", "tokenize_ms", "inference_ms", "padding_pct"));
  EXPECT_EQ(json["history"]["timestamps"].size(), 0u);
}

TEST_F(ReferenceMetricsTest, JsonHasEveryKeyOfTheReferenceSystem) {
  metrics_.Record(Request(100));
  metrics_.Sample({12.5, 64, 0, 1});
  const auto json = nlohmann::json::parse(ReferenceJson(kIdentity, metrics_.Snapshot(), {}));
  for (const char* key :
       {"count", "query_count", "instant_latency_ms", "avg_ms", "p50_ms", "p95_ms", "p99_ms",
        "throughput_qps", "avg_throughput_qps", "cpu_percent", "gpu_memory_mb", "gpu_utilization_pct",
        "last_tokenize_ms", "last_inference_ms", "last_queue_wait_ms"})
    EXPECT_TRUE(json[key].is_number()) << key;
  for (const char* stage : {"tokenize", "queue_wait", "model_inference"})
    for (const char* key : {"p50_ms", "p95_ms", "p99_ms", "avg_ms", "count"})
      EXPECT_TRUE(json["stage_breakdown"][stage][key].is_number()) << stage << key;
  EXPECT_TRUE(json["instance_metrics"]["avg_utilization_pct"].is_number());
  EXPECT_EQ(json["stage_percentages"]["tokenize_pct"], 2.0);
  EXPECT_EQ(json["stage_percentages"]["inference_pct"], 50.0);
  EXPECT_EQ(json["stage_percentages"]["queue_wait_pct"], 1.0);
  EXPECT_EQ(json["stage_percentages"]["other_pct"], 47.0);
  EXPECT_EQ(json["queue_wait_analysis"]["avg_ms"], 1.0);
  EXPECT_EQ(json["padding_analysis"]["avg_padding_pct"], 25.0);
  EXPECT_EQ(json["worker_stats"][0]["query_count"], 2);
  EXPECT_EQ(json["rerankd"]["tokens"]["padding_waste_ratio"], 0.0);  // nothing padded was computed
  EXPECT_TRUE(json["history"]["throughput"][0].is_number_integer());
  EXPECT_EQ(json["rerankd"]["history"]["model_queue_size"].size(), json["history"]["timestamps"].size());
}

TEST_F(ReferenceMetricsTest, InstancesAndTheirWorkersNameTheirModel) {
  ServerIdentity identity = kIdentity;
  identity.models = {"default", "other"};
  identity.instances.resize(2);
  for (int i : {0, 1}) identity.instances[static_cast<size_t>(i)].id = i;
  identity.instances[1].model = 1;
  EngineStats engine;
  engine.workers.resize(3);
  engine.workers[1].instance = engine.workers[2].instance = 1;
  const auto json = nlohmann::json::parse(DashboardJson(identity, metrics_.Snapshot(), engine, 0));
  EXPECT_EQ(json["server"]["instances"][0]["model"], "default");
  EXPECT_EQ(json["server"]["instances"][1]["model"], "other");
  EXPECT_EQ(json["rerankd"]["workers"][0]["model"], "default");
  EXPECT_EQ(json["rerankd"]["workers"][2]["model"], "other");
}

TEST(CpuMeter, GivesCpuTimeOverWallTimeSinceTheLastReading) {
  VirtualClock clock;
  Duration cpu{0};
  CpuMeter meter(clock, [&] { return cpu; });
  clock.Advance(milliseconds(500));
  cpu = milliseconds(750);
  EXPECT_DOUBLE_EQ(meter.Read(), 150);
  clock.Advance(milliseconds(50));
  EXPECT_DOUBLE_EQ(meter.Read(), 150);  // too soon to tell
  clock.Advance(milliseconds(50));
  EXPECT_DOUBLE_EQ(meter.Read(), 0);
}

WorkerStats Busy(int instance, double busy_ms) {
  WorkerStats worker;
  worker.instance = instance;
  worker.busy_ms = busy_ms;
  return worker;
}

TEST(UtilizationMeter, GivesTheBusyShareOfEachInstanceOverTheLastTenSeconds) {
  VirtualClock clock;
  UtilizationMeter meter;
  meter.Sample(clock.Now(), {Busy(0, 1000), Busy(0, 2000), Busy(1, 0)});
  EXPECT_TRUE(meter.Read().empty());
  clock.Advance(milliseconds(500));
  meter.Sample(clock.Now(), {Busy(0, 1500), Busy(0, 2000), Busy(1, 100)});
  EXPECT_THAT(meter.Read(), ElementsAre(testing::Pair(0, 0.5), testing::Pair(1, 0.2)));
  for (int i = 0; i < 20; ++i) {  // idle: after 10 s nothing of the busy time is left
    clock.Advance(milliseconds(500));
    meter.Sample(clock.Now(), {Busy(0, 1500), Busy(0, 2000), Busy(1, 100)});
  }
  EXPECT_THAT(meter.Read(), ElementsAre(testing::Pair(0, 0.0), testing::Pair(1, 0.0)));
}

TEST(BucketCounts, PutAValueUnderTheFirstBoundThatHoldsIt) {
  BucketCounts<kBatchTokenBounds.size()> buckets;
  for (const double tokens : {1.0, 16.0, 17.0, 1e6}) buckets.Add(kBatchTokenBounds, tokens);
  EXPECT_EQ(buckets.counts.front(), 2);
  EXPECT_EQ(buckets.counts[1], 1);
  EXPECT_EQ(buckets.counts.back(), 1);
  EXPECT_EQ(buckets.sum, 1 + 16 + 17 + 1e6);
}

TEST(Sampler, TicksUntilDestroyed) {
  std::atomic<int> ticks{0};
  {
    const Sampler sampler(milliseconds(1), [&] { ++ticks; });
    while (ticks < 3) std::this_thread::yield();
  }
  const int at_the_end = ticks;
  std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(ticks, at_the_end);
}

}  // namespace
}  // namespace rerankd::serving
