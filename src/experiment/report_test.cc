// Statistics, raw data and reports, without any server.
#include "experiment/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "experiment/record.h"
#include "experiment/stats.h"

namespace rerankd::experiment {
namespace {

using testing::HasSubstr;
using testing::Not;

RequestSample Sample(int64_t index, double latency_ms, int pairs) {
  RequestSample sample;
  sample.index = index;
  sample.start_ms = static_cast<double>(index) * 100;
  sample.latency_ms = latency_ms;
  sample.pairs = pairs;
  return sample;
}

// A request log of a five-request run of the reference system.
CellRecord FiveRequests() {
  CellRecord cell;
  cell.batch = 4;
  cell.concurrency = 1;
  cell.seconds = 0.3345;
  const double latencies[] = {36.51, 39.075, 44.86, 48.665, 165.14};
  for (int i = 0; i < 5; ++i) cell.requests.push_back(Sample(i, latencies[i], 4));
  return cell;
}

ExperimentRecord SomeRecord() {
  ExperimentRecord record;
  record.stem = "x";
  record.environment = {{"CPU", "a cpu"}};
  record.warnings = {"a warning"};
  RunRecord run;
  run.name = "title";
  run.description = "what it is";
  run.timestamp = "2026-01-02 03:04:05";
  run.model = "m";
  run.backend = "native";
  run.device = "cpu";
  run.model_sha256 = "fe09";
  run.dataset = {"bundled", "ab12", 500, 100000};
  run.token_lengths = TokenLengths{500, 102.25, 27, 101, 159, 186, 232};
  run.configuration = "name: \"title\"\n";
  run.metrics_json = *ReadFile(std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/metrics.json");
  run.cells = {FiveRequests()};
  run.cells[0].client_cpu_s = 0.01;
  run.cells[0].server_cpu_s = 0.5;
  run.cells[0].real_tokens = 2000;
  run.cells[0].computed_tokens = 2500;
  run.cells[0].multiply_adds = 1e9;
  record.runs = {run};
  return record;
}

// Repeats, an open loop, quality.
void AddEverything(RunRecord* run) {
  CellRecord open = FiveRequests();
  open.rate_name = "80%";
  open.rate = 14.9;
  open.capacity = 18.7;
  open.requests[4].repeat = 1;
  open.requests[3].late_ms = 2.5;
  open.requests[2].error = "full";
  open.repeats = {{0.2, {1.3, 0.01}, {1.5, 0}}, {0.1345, {1.3, 0.5}, {1.3, 0}}};
  run->cells.push_back(open);
  QualityRecord quality;
  quality.data = "set";
  quality.queries = 2;
  quality.pairs = 20;
  quality.has_qrels = true;
  quality.ndcg10 = 0.75;
  AgreementRecord fp32;
  fp32.queries = 2;
  fp32.spearman = 0.99;
  fp32.has_ndcg = true;
  fp32.ndcg10_change = -0.01;
  fp32.ndcg10_low = -0.02;
  quality.fp32 = fp32;
  fp32.has_ndcg = false;
  quality.given = fp32;
  quality.by_query = {{"q 1", 1, 0.5}, {"q2", 0.5, 0.25}};
  run->quality = quality;
}

CellRecord Failed(int batch, const std::string& error, bool skipped) {
  CellRecord cell;
  cell.batch = batch;
  cell.concurrency = 2;
  cell.error = error;
  cell.skipped = skipped;
  return cell;
}

TEST(Stats, PercentilesInterpolateLinearly) {
  const std::vector<double> v = {1, 2, 3, 10};
  EXPECT_DOUBLE_EQ(Percentile(v, 0), 1);
  EXPECT_DOUBLE_EQ(Percentile(v, 50), 2.5);
  EXPECT_DOUBLE_EQ(Percentile(v, 90), 3 + 7 * 0.7);
  EXPECT_DOUBLE_EQ(Percentile(v, 100), 10);
  EXPECT_EQ(Percentile({}, 50), 0);
}

TEST(Stats, StandardDeviationIsThePopulationOne) {
  EXPECT_NEAR(Summarize({36.51, 39.075, 44.86, 48.665, 165.14}).std_dev, 49.33, 0.005);
  EXPECT_DOUBLE_EQ(Summarize({1, 3}).std_dev, 1);
  EXPECT_EQ(Summarize({7}).std_dev, 0);
}

TEST(Stats, CorrelationIsPearsonAndZeroWhereUndefined) {
  const std::vector<double> x = {1, 2, 3}, down = {6, 4, 2}, flat = {5, 5, 5}, bent = {1, 2, 1};
  EXPECT_DOUBLE_EQ(Correlation(x, down), -1);
  EXPECT_DOUBLE_EQ(Correlation(x, bent), 0);
  EXPECT_EQ(Correlation(x, flat), 0);
  EXPECT_EQ(Correlation({}, {}), 0);
}

TEST(Stats, AHundredRequestsFallIntoBucketsOf50_25_15_10) {
  std::vector<double> latency, throughput;
  for (int i = 0; i < 100; ++i) {
    latency.push_back(100 + i);
    throughput.push_back(1000.0 - i);
  }
  const auto buckets = LatencyBuckets(latency, throughput);
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].count, 50);
  EXPECT_EQ(buckets[1].count, 25);
  EXPECT_EQ(buckets[2].count, 15);
  EXPECT_EQ(buckets[3].count, 10);
  EXPECT_EQ(buckets[0].range, "< 149.5ms (P50)");
  EXPECT_EQ(buckets[1].range, "149.5-174.2ms (P50-P75)");
  EXPECT_DOUBLE_EQ(buckets[3].min, 901);
  EXPECT_DOUBLE_EQ(buckets[3].max, 910);
  EXPECT_DOUBLE_EQ(buckets[3].average, 905.5);
}

TEST(Stats, EmptyBucketsAreLeftOut) {
  const std::vector<double> same = {5, 5, 5};
  const auto buckets = LatencyBuckets(same, same);
  ASSERT_EQ(buckets.size(), 1u);
  EXPECT_EQ(buckets[0].range, ">= 5.0ms (P90+)");
}

TEST(MarkdownReport, RewritesTheFiveRequestLog) {
  const std::string report = MarkdownReport(SomeRecord());
  EXPECT_THAT(report, HasSubstr("| 4 | 1 | 20 | 0.33 | 66.8ms | 141.8ms | 160.5ms | 59.8 | 108.1 |\n"));
  EXPECT_THAT(report, HasSubstr("**Total:** 20 pairs in 0.33s\n"));
  EXPECT_THAT(report,
              HasSubstr("#### Latency (ms)\n| Metric | Value |\n|--------|-------|\n| Average | 66.85 |\n"
                        "| Min | 36.51 |\n| Max | 165.14 |\n| Std Dev | 49.33 |\n| P50 | 44.86 |\n"
                        "| P90 | 118.55 |\n| P95 | 141.84 |\n| P99 | 160.48 |\n"));
  EXPECT_THAT(report, HasSubstr("| Best Latency | 66.85ms | batch=4, conc=1 |"));
  EXPECT_THAT(report, HasSubstr("| Tokenization (ms) | 2.0 | 1.0 | 3.0 | 2.0 | 2.9 |"));
  EXPECT_THAT(report, HasSubstr("| 0 | 10.0 | 29.1 | 100.0 | 10.0 | 192 | 1.0 | 7.0 | 0.0 | 42.6 |"));
}

TEST(MarkdownReport, AverageThroughputIsTheOverallRateNotTheMeanOfRequests) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells[0].seconds = 2;
  EXPECT_THAT(
      MarkdownReport(record),
      HasSubstr("#### Throughput (pairs/s)\n| Metric | Value |\n|--------|-------|\n| Average | 10.00 |\n"
                "| Min | 24.22 |\n| Max | 109.56 |\n"));
}

TEST(MarkdownReport, FailedCellsAreErrorRowsAndCountForNothing) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells.insert(record.runs[0].cells.begin(), Failed(8, "broke\ntwice", false));
  record.runs[0].cells.push_back(Failed(16, "no such device", true));
  const std::string report = MarkdownReport(record);
  EXPECT_THAT(report, HasSubstr("| 8 | 2 | ERROR | - | - | - | - | - | - |\n"));
  EXPECT_THAT(report, HasSubstr("### Config 1: **ERROR**\n\nError: broke twice\n\n### Config 2: batch=4"));
  EXPECT_THAT(report, HasSubstr("Error: skipped: no such device\n"));
  EXPECT_THAT(report, HasSubstr("| Avg Latency | 66.85ms | all configs |"));
  record.runs[0].cells = {Failed(8, "broke", false)};
  EXPECT_THAT(MarkdownReport(record), Not(HasSubstr("Overall Summary")));
}

TEST(MarkdownReport, FailedRequestsOfACellCountForNothing) {
  ExperimentRecord record = SomeRecord();
  RequestSample failed = Sample(5, 9999, 4);
  failed.error = "full";
  record.runs[0].cells[0].requests.push_back(failed);
  EXPECT_THAT(MarkdownReport(record), HasSubstr("**Total:** 20 pairs"));
}

TEST(MarkdownReport, SaysWhenItIsPartialAndWhenBatchingIsOn) {
  ExperimentRecord record = SomeRecord();
  record.partial = true;
  record.runs[0].batching = true;
  record.runs[0].batching_max = 96;
  record.runs[0].batching_timeout_ms = 20;
  const std::string report = MarkdownReport(record);
  EXPECT_THAT(report, testing::StartsWith(
                          "# title (PARTIAL)\n\n_what it is_\n\n**Timestamp:** 2026-01-02 03:04:05\n\n"));
  EXPECT_THAT(report,
              HasSubstr("**Dynamic Batching:** enabled (max_batch=96, timeout=20ms)\n\n## Results Summary"));
}

TEST(MarkdownReport, WithoutServerMetricsTheSummaryIsZeroAndThereIsNoSeries) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].metrics_json.clear();
  const std::string report = MarkdownReport(record);
  EXPECT_THAT(report, HasSubstr("| GPU Memory (MB) | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 |"));
  EXPECT_THAT(report, Not(HasSubstr("Time-Series")));
  EXPECT_THAT(report, Not(HasSubstr("Stage Breakdown")));
}

TEST(MarkdownReport, OwnSectionsKeepBothKindsOfPaddingApart) {
  const std::string report = MarkdownReport(SomeRecord());
  EXPECT_THAT(report, HasSubstr("| Data set | bundled, 500 pairs, 200 bytes a pair, sha256 ab12 |"));
  EXPECT_THAT(
      report,
      HasSubstr("| Tokens of a pair | mean 102.2, min 27, P50 101, P95 159, P99 186, max 232 (first 500"));
  EXPECT_THAT(report, HasSubstr("- a warning\n"));
  EXPECT_THAT(report, HasSubstr("| Model Inference | 7.50 | 7.00 | 8.00 | 9.00 | 75.0% |"));
  EXPECT_THAT(report, HasSubstr("| 0 | 10.00 | 12.00 | 200.50 | 8 |"));
  EXPECT_THAT(report, HasSubstr("| 4 | 1 | 100.0 | 5979 | 7474 | 20.0 | 29.9 |"));
  EXPECT_THAT(report, HasSubstr("Peak: 10.0 billion multiply-adds/s"));
  EXPECT_THAT(report, HasSubstr("would have wasted 45.2%"));
  EXPECT_THAT(report, HasSubstr("| 4 | 1 | 0.01 | 0.50 | 1.49 | 40.0 |"));
}

TEST(MarkdownReport, RunsOfASweepAreSeparatedByARule) {
  ExperimentRecord record = SomeRecord();
  record.runs.push_back(record.runs[0]);
  record.runs[1].name = "second";
  EXPECT_THAT(MarkdownReport(record), HasSubstr("\n\n---\n\n# second\n\n"));
}

TEST(Record, SurvivesJsonSoThatReportsAreIdentical) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells[0].requests[1].latency_ms = 0.1 + 0.2;
  record.runs[0].cells[0].requests[2].error = "said \"no\", twice";
  record.runs[0].cells.push_back(Failed(8, "broke", true));
  AddEverything(&record.runs[0]);
  const std::string json = RecordToJson(record);
  const auto again = RecordFromJson(json);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(RecordToJson(*again), json);
  EXPECT_EQ(MarkdownReport(*again), MarkdownReport(record));
  EXPECT_EQ(CsvReport(*again), CsvReport(record));
  EXPECT_EQ(again->runs[0].cells[0].requests[1].latency_ms, 0.1 + 0.2);
}

TEST(Record, RawDataOfEarlierVersionsIsRead) {
  ExperimentRecord whole = SomeRecord();
  AddEverything(&whole.runs[0]);
  auto json = nlohmann::ordered_json::parse(RecordToJson(whole));
  auto& run = json["runs"][0];
  for (const char* key : {"model_sha256", "token_lengths"}) ASSERT_EQ(run.erase(key), 1u) << key;
  ASSERT_EQ(run["quality"].erase("by_query"), 1u);
  for (auto& cell : run["cells"])
    for (const char* key : {"repeats", "multiply_adds"}) ASSERT_EQ(cell.erase(key), 1u) << key;
  const auto record = RecordFromJson(json.dump());
  ASSERT_TRUE(record.ok()) << record.status().ToString();
  EXPECT_TRUE(record->runs[0].cells[0].repeats.empty());
  EXPECT_TRUE(record->runs[0].quality->by_query.empty());
  EXPECT_THAT(MarkdownReport(*record), Not(HasSubstr("Model files")));
}

TEST(MarkdownReport, ACommandLineDoesNotBreakItsTable) {
  ExperimentRecord record = SomeRecord();
  record.environment.emplace_back("Command", "rerankd --set 'name=a | b\nc'");
  EXPECT_THAT(MarkdownReport(record), HasSubstr("| Command | rerankd --set 'name=a \\| b c' |\n"));
}

TEST(MarkdownReport, OwnSectionsShowOpenLoopsQualityAndRepeats) {
  ExperimentRecord record = SomeRecord();
  AddEverything(&record.runs[0]);
  const std::string report = MarkdownReport(record);
  EXPECT_THAT(report, HasSubstr("| 4 | 80% | 14.9 | 12.0 | 5 | 1 | 43.9 |"));  // 4 answered in 0.3345 s
  EXPECT_THAT(report, HasSubstr("| this model | 0.7500 |"));
  EXPECT_THAT(report,
              HasSubstr("| fp32 | 2 | 0.99000 | 0.00000 | 0.0000 | 0 | 0 | -0.0100 (-0.0200 .. +0.0000) |"));
  EXPECT_THAT(report, HasSubstr("| given scores | 2 | 0.99000 | 0.00000 | 0.0000 | 0 | 0 | - |"));
  EXPECT_THAT(report, HasSubstr("| 4 | 80% | 2 | 47.8 | - | - | - | - | -13.3% |"));
  EXPECT_THAT(report, HasSubstr("- batch=4, rate=80%: warning: repeat 1: the machine was 13 % slower after"));
  EXPECT_THAT(report, HasSubstr("repeat 2: other work took 33 % of this core before"));
  EXPECT_THAT(report, HasSubstr("1 of 5 requests failed; the first: full"));
  EXPECT_THAT(report, HasSubstr("warning: 1 % of the requests were sent 2.4 ms late or more"));
  record.runs[0].quality = QualityRecord{};
  record.runs[0].quality->error = "no such thing";
  EXPECT_THAT(MarkdownReport(record), HasSubstr("## Quality\n\nNot complete: no such thing\n"));
}

TEST(Record, DamagedRawDataIsAnError) {
  EXPECT_FALSE(RecordFromJson("{").ok());
  EXPECT_THAT(RecordFromJson("{}").status().message(), HasSubstr("not the raw data"));
  EXPECT_THAT(RecordFromJson(R"({"format": "rerankd-experiment", "version": 9})").status().message(),
              HasSubstr("version 9"));
  EXPECT_THAT(RecordFromJson(R"({"format": "rerankd-experiment", "version": 1})").status().message(),
              HasSubstr("stem"));
}

TEST(ServerMetrics, ToleratesWhatOtherServersAnswer) {
  EXPECT_FALSE(ParseServerMetrics("<html>").ok());
  EXPECT_FALSE(ParseServerMetrics("[1]").ok());
  const auto empty = ParseServerMetrics("{}");
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->history.empty());
  EXPECT_EQ(empty->real_tokens, -1);
  EXPECT_TRUE(ParseServerMetrics(
                  R"({"history": 3, "worker_stats": {"a": 1}, "stage_percentages": [1], "rerankd": null})")
                  .ok());
}

TEST(CsvReport, HasALineARequestAndQuotesText) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells[0].requests[0].queue_ms = 2;
  record.runs[0].cells[0].requests[1].error = "a \"b\", c";
  const std::string csv = CsvReport(record);
  EXPECT_THAT(csv, HasSubstr("\n,4,1,0,0.000,36.510,4,2.000,,,,0,,0.000\n"));
  EXPECT_THAT(csv, HasSubstr("39.075,4,,,,\"a \"\"b\"\", c\",0,,0.000\n"));
}

}  // namespace
}  // namespace rerankd::experiment
