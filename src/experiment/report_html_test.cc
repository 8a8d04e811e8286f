// Pages, charts and comparisons, without any server.
#include "experiment/report_html.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "experiment/cell_stats.h"
#include "experiment/compare.h"
#include "experiment/svg_chart.h"

namespace rerankd::experiment {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

// `requests` one after another, each of `latency_ms` and a little more.
CellRecord Cell(int batch, int concurrency, int requests, double latency_ms) {
  CellRecord cell;
  cell.batch = batch;
  cell.concurrency = concurrency;
  double now = 0;
  for (int i = 0; i < requests; ++i) {
    RequestSample sample;
    sample.index = i;
    sample.start_ms = now;
    sample.latency_ms = latency_ms + i % 7;
    sample.pairs = batch;
    sample.queue_ms = 1;
    sample.tokenize_ms = 2;
    sample.inference_ms = latency_ms / 2;
    now += sample.latency_ms;
    cell.requests.push_back(sample);
  }
  cell.seconds = now / 1000;
  return cell;
}

ExperimentRecord SomeRecord(double latency_ms = 20) {
  ExperimentRecord record;
  record.stem = "stem";
  record.warnings = {"mind <this> & that"};
  RunRecord run;
  run.name = "a \"title\"";
  run.timestamp = "2026-01-02 03:04:05";
  run.model = "m";
  run.configuration = "name: <x>\n";
  run.metrics_json = *ReadFile(std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/metrics.json");
  run.cells = {Cell(8, 1, 50, latency_ms), Cell(8, 2, 50, latency_ms), Cell(16, 1, 50, latency_ms)};
  run.cells.push_back({});
  run.cells.back().error = "broke & burnt";
  record.runs = {run};
  return record;
}

// Two rates of an open loop on one size of request.
ExperimentRecord OpenRecord() {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells = {Cell(8, 3, 30, 20), Cell(8, 9, 30, 40)};
  record.runs[0].cells[0].rate_name = "50%";
  record.runs[0].cells[0].rate = 10;
  record.runs[0].cells[1].rate_name = "80%";
  record.runs[0].cells[1].rate = 16;
  return record;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(SvgChart, TicksAreRoundAndCoverTheRange) {
  EXPECT_THAT(NiceTicks(0, 97, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(NiceTicks(0, 3, 3), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(NiceTicks(5, 5, 1), ElementsAre(5, 6));
}

TEST(SvgChart, PointsLieWhereTheAxesSay) {
  Chart chart;
  chart.kind = Chart::Kind::kPoints;
  chart.series = {{"", {{0, 0, 0, 0}, {10, 100, 90, 110}, {5, NAN, 0, 0}}}};
  const std::string svg = DrawChart(chart);
  EXPECT_EQ(Count(svg, "<circle"), 2);  // the one that is not a number is left out
  EXPECT_THAT(svg, HasSubstr("cx=\"64.0\" cy=\"216.0\""));
  EXPECT_THAT(svg, HasSubstr("cx=\"548.0\""));
  EXPECT_EQ(Count(svg, "class=\"bar-end\""), 1);
  EXPECT_EQ(DrawChart({}), "");
}

TEST(SvgChart, StackedBarsAddUp) {
  Chart chart;
  chart.kind = Chart::Kind::kStackedBars;
  chart.categories = {"one"};
  chart.series = {{"a", {{0, 30, 0, 0}}}, {"b", {{0, 70, 0, 0}}}};
  // 186 pixels for 100: the second bar stands on the first.
  EXPECT_THAT(DrawChart(chart), AllOf(HasSubstr("y=\"160.2\" width=\"387.2\" height=\"55.8\""),
                                      HasSubstr("y=\"30.0\" width=\"387.2\" height=\"130.2\"")));
}

TEST(HtmlReport, IsSelfContainedAndEscapesWhatItShows) {
  const std::string html = HtmlReport(SomeRecord());
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, AllOf(HasSubstr("mind &lt;this&gt; &amp; that"), HasSubstr("a &quot;title&quot;"),
                          HasSubstr("failed: broke &amp; burnt"), HasSubstr("name: &lt;x&gt;")));
  EXPECT_THAT(html, AllOf(HasSubstr("prefers-color-scheme:dark"), HasSubstr("@media print")));
}

TEST(HtmlReport, DrawsEveryKindOfChart) {
  const std::string html = HtmlReport(SomeRecord());
  for (const char* title :
       {"Throughput over concurrency", "Throughput over batch size", "Latency percentiles",
        "Stages of a request (mean)", "Latency, batch=16, conc=1", "Latency over time, batch=8, conc=2",
        "Server throughput", "Queue depth", "CPU of the server", "Memory of the models",
        "Busy with inference", "Padding to the longest of a request would waste"})
    EXPECT_EQ(Count(html, std::string("<figcaption>") + title), 1) << title;
  EXPECT_GE(Count(html, "class=\"bar-end\""), 4);  // intervals of throughput
}

TEST(HtmlReport, OpenLoopsAreDrawnOverTheirRate) {
  const std::string html = HtmlReport(OpenRecord());
  EXPECT_THAT(html, HasSubstr("Latency over the rate (open loop)"));
  EXPECT_THAT(html, HasSubstr("batch 8, p99"));
  EXPECT_THAT(html, HasSubstr("batch=8, rate=80%"));
  EXPECT_THAT(html, Not(HasSubstr("Throughput over concurrency"))) << "there is none that was chosen";
}

TEST(HtmlReport, IsTheSameBytesFromRawDataAgain) {
  const ExperimentRecord record = SomeRecord();
  const auto again = RecordFromJson(RecordToJson(record));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(HtmlReport(*again), HtmlReport(record));
  EXPECT_EQ(HtmlIndex({*again}), HtmlIndex({record}));
}

TEST(HtmlReport, AnEmptyRecordIsAPageToo) {
  ExperimentRecord record;
  record.stem = "nothing";
  record.partial = true;
  EXPECT_THAT(HtmlReport(record), HasSubstr("<h1>nothing</h1>"));
}

TEST(HtmlIndex, NamesTheBestCellOfEachExperiment) {
  ExperimentRecord failed = SomeRecord();
  failed.stem = "bad";
  failed.partial = true;
  failed.runs[0].cells = {failed.runs[0].cells.back()};
  ExperimentRecord ranked = SomeRecord();
  ranked.runs[0].quality = QualityRecord{"set", "", 8, 80, true, 0.8125, 0.9, 0, 0, {}, {}};
  const std::string html = HtmlIndex({SomeRecord(), failed, ranked});
  EXPECT_EQ(Count(html, "<td>-</td></tr>"), 1) << "one without, one with a quality";
  EXPECT_THAT(html, HasSubstr("<td>0.8125</td></tr>"));
  EXPECT_THAT(html, HasSubstr("<a href=\"stem_results.html\">"));
  EXPECT_THAT(html, HasSubstr("<td>3 of 4</td>"));
  EXPECT_THAT(html, HasSubstr("<td>batch=16, conc=1</td>"));
  EXPECT_THAT(html, AllOf(HasSubstr("(PARTIAL)</a>"), HasSubstr("no cell succeeded")));
}

TEST(CellStats, SlicesOfASteadyCellHaveItsRate) {
  CellRecord cell = Cell(10, 1, 100, 10);
  for (RequestSample& r : cell.requests) r.latency_ms = 10;
  for (size_t i = 0; i < 100; ++i) cell.requests[i].start_ms = 10.0 * static_cast<double>(i);
  cell.seconds = 1;
  EXPECT_THAT(SliceRates(cell), testing::Each(testing::DoubleNear(1000, 1e-6)));
  const auto interval = IntervalOfRate(cell);
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->high - interval->low, 0, 1e-6);
  EXPECT_FALSE(IntervalOfRate(Cell(10, 1, 19, 10)));
}

TEST(CellStats, TheIntervalOfTheRateIsStudents) {
  CellRecord cell;  // one request a slice: 9 of 100 pairs, one of 200
  cell.seconds = 1;
  for (int i = 0; i < 20; ++i) {
    RequestSample r;
    r.start_ms = 50.0 * i;
    r.latency_ms = 50;
    r.pairs = i < 2 ? 20 : 10;
    cell.requests.push_back(r);
  }
  const auto interval = IntervalOfRate(cell);
  ASSERT_TRUE(interval);
  EXPECT_NEAR((interval->low + interval->high) / 2, 220, 1e-9);
  EXPECT_NEAR(interval->high - 220, 2.262 * 20, 1e-9);  // population deviation 60, / sqrt(10 - 1)
}

// `repeats` of 25 requests each; their rates are 1000 times the factors.
CellRecord Repeated(const std::vector<double>& factors) {
  CellRecord cell;
  cell.batch = 10;
  cell.concurrency = 1;
  for (size_t i = 0; i < factors.size(); ++i) {
    const double ms = 10 / factors[i];
    for (int k = 0; k < 25; ++k) {
      RequestSample r;
      r.index = k;
      r.repeat = static_cast<int>(i);
      r.start_ms = cell.seconds * 1000 + ms * k;
      r.latency_ms = ms;
      r.pairs = 10;
      cell.requests.push_back(r);
    }
    cell.repeats.push_back({25 * ms / 1000, {1, 0}, {1, 0}});
    cell.seconds += 25 * ms / 1000;
  }
  return cell;
}

TEST(CellStats, TheIntervalOfThreeRepeatsIsOverThem) {
  const auto interval = IntervalOfRate(Repeated({0.9, 1.0, 1.1}));
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->mean, 1000, 1e-6);
  EXPECT_NEAR(interval->high - interval->mean, 4.303 * 100 / std::sqrt(3), 0.01);  // sample deviation 100
  EXPECT_THAT(RateSamples(Repeated({0.9, 1.1})), SizeIs(10)) << "slices: two repeats have no interval";
  EXPECT_NEAR(load::IntervalOfMean(RepeatsOf(Repeated({0.5, 1, 2})).p50)->mean, (20 + 10 + 5) / 3.0, 1e-9);
  EXPECT_FALSE(load::IntervalOfMean(std::vector<double>{1, 2}));
}

TEST(CellStats, ASteadyCellHasNoWarning) {
  EXPECT_THAT(CellWarnings(Repeated({1, 1.01, 0.99, 1})), testing::IsEmpty());
  EXPECT_THAT(CellWarnings(CellRecord()), testing::IsEmpty());
}

TEST(CellStats, WhatIsFarFromTheOthersIsAWarning) {
  EXPECT_THAT(CellWarnings(Repeated({1, 1.01, 0.6, 0.99, 1})),
              Contains(HasSubstr("repeat 3 is an outlier: 600.0 pairs/s, the median is 1000.0")));
  CellRecord slow = Repeated({1});
  slow.requests[12].latency_ms = 150;
  EXPECT_THAT(CellWarnings(slow), Contains(HasSubstr("1 of 25 requests took more than 10 times the median")));
  EXPECT_THAT(CellWarnings(Repeated({1, 0.99, 0.8, 0.79})), Contains(HasSubstr("the rate fell by")));
}

std::vector<Measure> MeasuresOfRecord(double latency_ms) {
  const auto measures = ReadMeasures(RecordToJson(SomeRecord(latency_ms)));
  EXPECT_TRUE(measures.ok()) << measures.status().ToString();
  return measures.ok() ? *measures : std::vector<Measure>();
}

TEST(Compare, AFasterResultIsBetterAndTheSameOneIsEqual) {
  const auto same = Compare(MeasuresOfRecord(20), MeasuresOfRecord(20));
  ASSERT_THAT(same, SizeIs(9));  // 3 good cells x rate, p50, p99
  EXPECT_EQ(*WorstRate(same), 1);
  for (const Comparison& c : same) {
    ASSERT_TRUE(c.range) << c.name;
    EXPECT_LE(c.range->first, 1);
    EXPECT_GE(c.range->second, 1);
  }
  const auto faster = Compare(MeasuresOfRecord(20), MeasuresOfRecord(10));
  EXPECT_GT(*WorstRate(faster), 1.5);
  for (const Comparison& c : faster) EXPECT_GT(c.range->first, 1.2) << c.name;
  EXPECT_LT(*WorstRate(Compare(MeasuresOfRecord(10), MeasuresOfRecord(20))), 0.7);
}

// The three good cells of SomeRecord, each in repeats that differ by `factors`.
std::vector<Measure> MeasuresOfRepeats(const std::vector<double>& factors) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells = {Repeated(factors)};
  const auto measures = ReadMeasures(RecordToJson(record));
  EXPECT_TRUE(measures.ok()) << measures.status().ToString();
  return measures.ok() ? *measures : std::vector<Measure>();
}

TEST(Compare, ADifferenceIsClaimedOnlyFromRepeatsThatShowIt) {
  const auto verdicts = [](const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<std::string> texts;
    for (const Comparison& c : Compare(MeasuresOfRepeats(a), MeasuresOfRepeats(b)))
      texts.push_back(Verdict(c));
    return texts;
  };
  using testing::Each;
  EXPECT_THAT(verdicts({1}, {2}), Each("too few repeats to tell"))
      << "how much another run would differ, nobody knows";
  EXPECT_THAT(verdicts({1, 1.01}, {2, 2.01}), Each("too few repeats to tell"));
  EXPECT_THAT(verdicts({1, 1.01, 1.02}, {2, 2.01}), Each("too few repeats to tell"));
  EXPECT_THAT(verdicts({1}, {1}), Each("no difference shown"));
  EXPECT_THAT(verdicts({1, 1.01, 0.99}, {2, 2.01, 1.99}), Each("better"));
  EXPECT_THAT(verdicts({2, 2.01, 1.99}, {1, 1.01, 0.99}), Each("worse"));
  // All of B above all of A, which a bootstrap over three takes for certain. Student's t does not.
  EXPECT_THAT(verdicts({1, 1.01, 1.02}, {1.021, 1.03, 1.04}), Each("no difference shown"));
  EXPECT_THAT(ComparisonTable(Compare(MeasuresOfRepeats({1}), MeasuresOfRepeats({2}))),
              HasSubstr("Three repeats of both or more tell"));
}

TEST(Compare, TheIntervalOverRepeatsIsWelchs) {
  const auto result = Compare(MeasuresOfRepeats({0.9, 1, 1.1}), MeasuresOfRepeats({1.9, 2, 2.1, 2.2}));
  ASSERT_TRUE(result[0].range);
  // Logarithms: means -0.00335 and 0.71635, standard errors 0.05795 and 0.03155, 3.2 degrees of freedom.
  EXPECT_NEAR(std::log(result[0].range->first), 0.71970 - 3.182 * 0.06598, 1e-3);
  EXPECT_NEAR(std::log(result[0].range->second), 0.71970 + 3.182 * 0.06598, 1e-3);
}

TEST(Compare, LoadsAreComparedByTheirWholeSeconds) {
  const auto load = [](double rate) {
    std::string windows;
    for (int i = 0; i < 6; ++i)
      windows += (i > 0 ? ", " : "") +
                 std::string("{\"due\": 1, \"ok\": 1, \"p50_ms\": 2, \"p99_ms\": 3, \"pairs\": ") +
                 std::to_string(i == 0 || i == 5 ? 1 : rate + i) + "}";
    return *ReadMeasures(
        "{\"format\": \"rerankd-load\", \"pairs_per_s\": " + std::to_string(rate) +
        ", \"goodput_requests_per_s\": 1, \"latency_ms\": {\"p50\": 2, \"p99\": 3}, \"windows\": [" +
        windows + "]}");
  };
  const auto result = Compare(load(100), load(80));
  ASSERT_THAT(result, SizeIs(4));
  EXPECT_NEAR(result[0].ratio, 0.8, 1e-9);
  ASSERT_TRUE(result[0].range);
  EXPECT_LT(result[0].range->second, 0.85);
  EXPECT_FALSE(result[1].range);
}

TEST(Compare, LoadsWithRepeatsAreComparedByThem) {
  const auto load = [](const char* rates) {
    return ReadMeasures(fmt::format(
        R"({{"format": "rerankd-load", "pairs_per_s": 100, "windows": [], "repeats": {{"pairs_per_s": {{"values": {}}}}}}})",
        rates));
  };
  const auto result = Compare(*load("[99, 100, 101]"), *load("[79, 80, 81]"));
  ASSERT_TRUE(result[0].range);
  EXPECT_LT(result[0].range->second, 0.83);
  EXPECT_FALSE(result[2].range);
  EXPECT_THAT(load("[\"x\"]").status().message(), HasSubstr("damaged"));
}

TEST(Compare, AnyOtherJsonIsComparedNumberByNumber) {
  const auto a = ReadMeasures(R"({"peak": {"gflops": 10, "name": "x"}, "stages": [{"total_ms": 4}]})");
  const auto b = ReadMeasures(R"({"peak": {"gflops": 5}, "stages": [{"total_ms": 2}], "new": 1})");
  const auto result = Compare(*a, *b);
  ASSERT_THAT(result, SizeIs(2));
  EXPECT_EQ(result[0].name, "peak.gflops");
  EXPECT_EQ(result[0].ratio, 0.5);
  EXPECT_EQ(result[1].ratio, 2);  // half the time
  EXPECT_FALSE(ReadMeasures("{").ok());
  EXPECT_FALSE(ReadMeasures("{\"a\": \"text\"}").ok());
}

TEST(Compare, HtmlHoldsTheTable) {
  const std::string html = ComparisonHtml(
      Compare(MeasuresOfRepeats({1, 1.01, 1}), MeasuresOfRepeats({2, 2.01, 2})), "a<b.json", "c.json");
  EXPECT_THAT(html, AllOf(HasSubstr("a&lt;b.json"), HasSubstr("<td>better</td>"), HasSubstr("<svg")));
}

}  // namespace
}  // namespace rerankd::experiment
