// Pages, charts and comparisons, without any server.
#include "experiment/report_html.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "experiment/cell_stats.h"
#include "experiment/report.h"
#include "experiment/svg_chart.h"
#include "experiment/testing/records.h"

namespace rerankd::experiment {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

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

std::string FigureOf(const std::string& html, const std::string& title) {
  const size_t at = html.find("<figcaption>" + title);
  return at == std::string::npos ? "" : html.substr(at, html.find("</figure>", at) - at);
}

TEST(HtmlReport, OpenLoopsAreDrawnOverTheirRate) {
  const std::string html = HtmlReport(OpenRecord());
  EXPECT_THAT(html, HasSubstr("Latency over the rate (open loop)"));
  EXPECT_THAT(html, HasSubstr("batch 8, p99"));
  EXPECT_THAT(html, HasSubstr("batch=8, rate=80%"));
  EXPECT_THAT(html, Not(HasSubstr("Throughput over concurrency"))) << "there is none that was chosen";
}

TEST(HtmlReport, PointsOfAnOpenLoopHaveTheIntervalOverItsRepeats) {
  ExperimentRecord record = OpenRecord();
  EXPECT_EQ(Count(FigureOf(HtmlReport(record), "Latency over the rate"), "class=\"bar-end\""), 0)
      << "without repeats there is none";
  CellRecord& cell = record.runs[0].cells[0] = Repeated({0.9, 1, 1.1});
  cell.rate_name = "50%";
  cell.rate = 10;
  EXPECT_EQ(Count(FigureOf(HtmlReport(record), "Latency over the rate"), "class=\"bar-end\""), 2)
      << "p50 and p99 of one cell";
}

// A grid of as many sizes of request as asked for, at two concurrencies.
ExperimentRecord Grid(int sizes) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells.clear();
  for (int batch = 1; batch <= sizes; ++batch)
    for (const int concurrency : {1, 2}) record.runs[0].cells.push_back(Cell(batch, concurrency, 30, 20));
  return record;
}

TEST(HtmlReport, EveryCurveIsDrawnAndLooksUnlikeTheOthers) {
  const std::string html = HtmlReport(Grid(20));
  const std::string percentiles = FigureOf(html, "Latency percentiles");
  std::set<std::string> looks;
  for (int batch = 1; batch <= 20; ++batch)
    for (const int concurrency : {1, 2})
      EXPECT_THAT(percentiles, HasSubstr(fmt::format(">batch={}, conc={}</text>", batch, concurrency)));
  const std::string open = "<g class=\"", line = "\"><path class=\"line\" d=\"M";
  for (size_t at = 0; (at = percentiles.find(open, at)) != std::string::npos;) {
    at += open.size();
    const size_t end = percentiles.find('"', at);
    if (percentiles.compare(end, line.size(), line) != 0) continue;
    const size_t path = end + line.size();
    const std::string d = percentiles.substr(path, percentiles.find('"', path) - path);
    if (d.find('h') != std::string::npos) continue;  // the sample in the legend
    EXPECT_TRUE(looks.insert(percentiles.substr(at, end - at)).second) << percentiles.substr(at, end - at);
  }
  EXPECT_THAT(looks, SizeIs(40));
  EXPECT_EQ(Count(FigureOf(html, "Throughput over concurrency"), "<path class=\"line\" d=\"M"), 2 * 20)
      << "each with its sample in the legend";
  for (const std::string& look : looks) {
    if (look.size() < 3) continue;
    EXPECT_THAT(html, HasSubstr("." + look.substr(3) + " .line{stroke-dasharray")) << look;
  }
}

TEST(HtmlReport, CurvesThatOneChartCannotTellApartFillSeveral) {
  const std::string html = HtmlReport(Grid(50));  // 100 curves of percentiles
  int curves = 0;
  for (int part = 1; part <= 3; ++part)
    curves += Count(FigureOf(html, fmt::format("Latency percentiles ({} of 3)", part)), "</title></path>");
  EXPECT_EQ(curves, 100);
}

// The numbers of each cell and those of the report in Markdown are the same ones.
TEST(HtmlReport, TokensAndResourcesStandInTables) {
  ExperimentRecord record = SomeRecord();
  CellRecord& cell = record.runs[0].cells[0];
  cell.seconds = 2;
  cell.real_tokens = 40000;
  cell.computed_tokens = 50000;
  cell.multiply_adds = 5e9;
  cell.client_cpu_s = 0.25;
  cell.server_cpu_s = 3;
  cell.server_resident_bytes = 123'400'000;
  const std::string html = HtmlReport(record), markdown = MarkdownReport(record);
  EXPECT_THAT(html,
              HasSubstr("<tr><td>batch=8, conc=1</td><td>100.0</td><td>20000</td><td>25000</td><td>20.0</td>"
                        "<td>25.0</td></tr>"));
  EXPECT_THAT(markdown, HasSubstr("| 8 | 1 | 100.0 | 20000 | 25000 | 20.0 | 25.0 |"));
  EXPECT_THAT(html,
              HasSubstr("<tr><td>batch=8, conc=1</td><td>0.25</td><td>3.00</td><td>1.50</td><td>133.3</td>"
                        "<td>123.4</td></tr>"));
  EXPECT_THAT(markdown, HasSubstr("| 8 | 1 | 0.25 | 3.00 | 1.50 | 133.3 | 123.4 |"));
  EXPECT_THAT(html, HasSubstr("<td>Memory of the models (MB)</td><td>20.0</td><td>10.0</td>"));
  EXPECT_THAT(html, HasSubstr("<td>CPU of the server (% of one core)</td><td>150.0</td>"));
  EXPECT_THAT(html, HasSubstr("Peak: 10.0 billion multiply-adds/s"));
  EXPECT_EQ(Count(FigureOf(html, "Tokens computed a second"), "<rect"), 4) << "two bars, two in the legend";
}

TEST(HtmlReport, WhatTheServerDidNotTellHasNoSection) {
  ExperimentRecord record = SomeRecord();
  record.runs[0].metrics_json.clear();
  EXPECT_THAT(HtmlReport(record), AllOf(Not(HasSubstr("<h3>Tokens</h3>")), Not(HasSubstr("CPU and device"))));
  record.runs[0].cells[0].client_cpu_s = 0.25;  // a target of another make
  EXPECT_THAT(HtmlReport(record), HasSubstr("<td>0.25</td><td>-</td><td>-</td><td>-</td><td>-</td></tr>"));
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
  ranked.runs[0].quality = QualityRecord{"set", "", 8, 80, true, 0.8125, 0.9, 0, 0, {}, {}, {}};
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

}  // namespace
}  // namespace rerankd::experiment
