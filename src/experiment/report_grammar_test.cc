// One grammar for the reference system's report and ours.
#include "experiment/testing/report_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/text.h"
#include "experiment/record.h"
#include "experiment/report.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::SizeIs;

// A report of the reference system itself: $RERANKD_REFERENCE_REPORT, or the one that lies beside the test
// data.
std::string ReferenceReportPath() {
  if (const char* path = std::getenv("RERANKD_REFERENCE_REPORT")) return path;
  const char* data = std::getenv("RERANKD_TEST_DATA");
  const fs::path folder =
      (data != nullptr ? fs::path(data) : fs::path(RERANKD_SOURCE_DIR).parent_path() / "shared/data")
          .parent_path() /
      "design";
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().ends_with("-report.md")) return entry.path().string();
  return "";
}

CellRecord Cell(int batch, int concurrency, int requests) {
  CellRecord cell;
  cell.batch = batch;
  cell.concurrency = concurrency;
  for (int i = 0; i < requests; ++i) {
    RequestSample sample;
    sample.index = i;
    sample.latency_ms = 10 + 7 * (i * 37 % 11);
    sample.pairs = batch;
    cell.requests.push_back(sample);
    cell.seconds += sample.latency_ms / 1000 / concurrency;
  }
  return cell;
}

ExperimentRecord OurRecord() {
  ExperimentRecord record;
  record.stem = "ours";
  record.environment = {{"CPU", "some cpu"}};
  RunRecord run;
  run.name = "ours";
  run.description = "a description";
  run.timestamp = "2026-01-02 03:04:05";
  run.model = "default";
  run.backend = "native";
  run.device = "cpu";
  run.configuration = "name: \"ours\"\n";
  run.metrics_json = *ReadFile(std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/metrics.json");
  run.cells = {Cell(8, 1, 40), Cell(8, 4, 100)};
  run.cells[0].real_tokens = 1000;
  run.cells[0].computed_tokens = 1000;
  run.cells[0].client_cpu_s = 0.1;
  run.cells[1].repeats = {{run.cells[1].seconds, {1.3, 0}, {1.3, 0}}};
  record.runs = {run};
  return record;
}

std::string WithoutLine(const std::vector<std::string_view>& lines, size_t gone) {
  std::string text;
  for (size_t i = 0; i + 1 < lines.size(); ++i)
    if (i != gone) text += std::string(lines[i]) + "\n";
  return text;
}

// The grammar is strict: no line of the reference part can go missing, but for the last row of the series.
void ExpectEveryLineMatters(const std::string& report, size_t lines_that_matter) {
  const std::vector<std::string_view> lines = Split(report, '\n');
  for (size_t i = 0; i < lines_that_matter; ++i)
    EXPECT_FALSE(ParseReport(WithoutLine(lines, i)).ok())
        << "line " << i + 1 << " is not needed: " << lines[i];
}

// The layout of the reference system's reports, with made-up words and numbers: what is here always.
TEST(ReportGrammar, ReadsTheLayoutOfTheReferenceSystem) {
  const std::string text =
      *ReadFile(std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/reference_layout.md");
  const auto report = ParseReport(text);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->title, "a_made_up_report");
  EXPECT_EQ(report->timestamp, "2001-02-03 04:05:06");
  EXPECT_EQ(report->backend, "mps");
  ASSERT_THAT(report->cells, SizeIs(2));
  EXPECT_EQ(report->cells[0].requests, 30);
  EXPECT_EQ(report->cells[1].pairs, 450);
  EXPECT_EQ(report->series_rows, 4);
  EXPECT_TRUE(report->own_sections.empty());
  ExpectEveryLineMatters(text, Split(text, '\n').size() - 3);
}

TEST(ReportGrammar, ReadsTheReportOfTheReferenceSystem) {
  const auto text = ReadFile(ReferenceReportPath());
  if (!text.ok()) GTEST_SKIP() << "no report of the reference system here; set RERANKD_REFERENCE_REPORT";
  const auto report = ParseReport(*text);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->title, "06a_concurrency_mps");
  ASSERT_THAT(report->cells, SizeIs(1));
  EXPECT_EQ(report->cells[0].pairs, 9600);
  EXPECT_EQ(report->cells[0].requests, 100);
  EXPECT_EQ(report->series_rows, 26);
  EXPECT_TRUE(report->own_sections.empty());
  ExpectEveryLineMatters(*text, Split(*text, '\n').size() - 3);
}

TEST(ReportGrammar, ReadsOurs) {
  const std::string text = MarkdownReport(OurRecord());
  const auto report = ParseReport(text);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->title, "ours");
  EXPECT_EQ(report->backend, "native");
  ASSERT_THAT(report->cells, SizeIs(2));
  EXPECT_EQ(report->cells[1].pairs, 800);
  EXPECT_EQ(report->series_rows, 3);
  EXPECT_THAT(report->own_sections, ElementsAre("Environment", "Stage Breakdown", "Per-Worker Statistics",
                                                "Tokens", "CPU Time", "Repeats"));
  const size_t reference_part = text.find("\n\n## Environment");
  ASSERT_NE(reference_part, std::string::npos);
  ExpectEveryLineMatters(text, Split(text.substr(0, reference_part), '\n').size() - 1);
}

TEST(ReportGrammar, ReadsOursWithBatchingErrorsInterruptAndWithoutDescriptionOrMetrics) {
  ExperimentRecord record = OurRecord();
  RunRecord& run = record.runs[0];
  record.partial = true;
  run.batching = true;
  run.batching_max = 96;
  run.batching_timeout_ms = 12.5;
  run.description.clear();
  run.metrics_json.clear();
  run.cells[0].error = "broke";
  auto report = ParseReport(MarkdownReport(record));
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->title, "ours (PARTIAL)");
  EXPECT_TRUE(report->cells[0].error);
  EXPECT_EQ(report->series_rows, 0);
  run.cells[1].error = "broke too";
  report = ParseReport(MarkdownReport(record));
  ASSERT_TRUE(report.ok()) << report.status().ToString();
}

TEST(ReportGrammar, ReadsOursOfAnOpenLoop) {
  ExperimentRecord record = OurRecord();
  for (CellRecord& cell : record.runs[0].cells) {
    cell.rate_name = "80%";
    cell.rate = 12.5;
  }
  const auto report = ParseReport(MarkdownReport(record));
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->cells[1].requests, 100);
}

TEST(ReportGrammar, RefusesNumbersThatDisagree) {
  std::string text = MarkdownReport(OurRecord());
  const size_t at = text.find("**Total:** 320 pairs");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 20, "**Total:** 321 pairs");
  EXPECT_FALSE(ParseReport(text).ok());
}

}  // namespace
}  // namespace rerankd::experiment
