// Data sets, load and the runner against a scripted server on real sockets.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "base/file.h"
#include "experiment/catalogue.h"
#include "experiment/http_get.h"
#include "experiment/report.h"
#include "experiment/results_folder.h"
#include "experiment/server_process.h"
#include "load/dataset.h"
#include "load/testing/raw_server.h"

namespace rerankd::experiment {
namespace {

using load::LoadDataset;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::SizeIs;
namespace fs = std::filesystem;

class ExperimentTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    SetScript("FAKE_METRICS", std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/metrics.json");
    Write("pairs.tsv", "q1\td1\nq2\td22\nq3\td333\n");
  }
  void TearDown() override {
    for (const std::string& name : script_) unsetenv(name.c_str());
    fs::remove_all(folder_);
  }

  void SetScript(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    script_.push_back(name);
  }
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  std::string DatasetError(const std::string& name, const std::string& text) {
    return LoadDataset(Write(name, text), 100).status().message();
  }

  ExperimentOptions Options(const std::string& yaml) {
    ExperimentOptions options;
    options.files = {Write("exp.yaml", "experiment:\n  dataset: pairs.tsv\n  warmup_iterations: 1\n" + yaml)};
    options.run.out = (folder_ / "out").string();
    options.run.server_program = FAKE_SERVER;
    options.run.progress = false;
    return options;
  }
  int Run(const ExperimentOptions& options) {
    return RunExperiments(
        options, [this](const std::string& line) { log_ += line + "\n"; },
        [this](const std::string& path) { reports_.push_back(path); });
  }
  std::string Result(const std::string& extension) {
    auto text = ReadFile(ResultPath((folder_ / "out").string(), "exp", extension));
    return text.ok() ? *text : text.status().ToString();
  }
  ExperimentRecord Record() {
    auto record = RecordFromJson(Result(".json"));
    EXPECT_TRUE(record.ok()) << record.status().ToString();
    return record.ok() ? *record : ExperimentRecord();
  }

  const fs::path folder_ =
      fs::path(testing::TempDir()) / ("rerankd_experiment_" + std::to_string(::getpid()));
  std::vector<std::string> script_, reports_;
  std::string log_;
};

TEST_F(ExperimentTest, ReadsEveryKindOfDataSet) {
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"a.jsonl",
            "{\"query\": \"q1\", \"document\": \"d1\"}\n\n{\"query\": \"q2\", \"document\": \"d2\", \"x\": "
            "1}\n"},
           {"a.tsv", "q1\td1\nq2\td2\n"},
           {"a.json", "[[\"q1\", \"d1\"], [\"q2\", \"d2\"]]"}}) {
    const auto dataset = LoadDataset(Write(name, text), 100);
    ASSERT_TRUE(dataset.ok()) << dataset.status().ToString();
    ASSERT_THAT(dataset->pairs, SizeIs(2)) << name;
    EXPECT_EQ(dataset->pairs[1].second, "d2");
    EXPECT_EQ(dataset->info.bytes, 8);
    EXPECT_THAT(dataset->info.sha256, SizeIs(64));
    EXPECT_THAT(LoadDataset(Write(name, text), 1)->pairs, SizeIs(1));
  }
}

TEST_F(ExperimentTest, MalformedDataSetsNameTheLine) {
  EXPECT_THAT(DatasetError("a.jsonl", "{\"query\": \"q\", \"document\": \"d\"}\n{\"query\": \"q\"}\n"),
              AllOf(HasSubstr("a.jsonl:2"), HasSubstr("\"document\"")));
  EXPECT_THAT(DatasetError("a.jsonl", "nonsense\n"), HasSubstr("a.jsonl:1"));
  EXPECT_THAT(DatasetError("a.tsv", "q\td\nq\td\tx\n"), AllOf(HasSubstr("a.tsv:2"), HasSubstr("3 columns")));
  EXPECT_THAT(DatasetError("a.tsv", "q\t\n"), AllOf(HasSubstr("a.tsv:1"), HasSubstr("document is empty")));
  EXPECT_THAT(DatasetError("a.tsv", "q\td\xff\n"), HasSubstr("not UTF-8 at byte 1"));
  EXPECT_THAT(DatasetError("a.json", "[[\"q\", \"d\"],\n [\"q\"]]"), HasSubstr("pair 2"));
  EXPECT_THAT(DatasetError("a.json", "[\n[\"q\",\n"), HasSubstr("a.json:"));
  EXPECT_THAT(DatasetError("a.jsonl", ""), HasSubstr("no pair"));
  EXPECT_THAT(DatasetError("a.csv", "q,d\n"), HasSubstr("unknown kind"));
}

TEST_F(ExperimentTest, AFolderOfACollectionIsADataSet) {
  fs::create_directories(folder_ / "beir/qrels");
  Write("beir/queries.jsonl", "{\"_id\": \"2\", \"text\": \"two\"}\n{\"_id\": \"1\", \"text\": \"one\"}\n");
  Write("beir/corpus.jsonl",
        "{\"_id\": \"b\", \"title\": \"B\", \"text\": \"bb\"}\n"
        "{\"_id\": \"a\", \"text\": \"aa\"}\n");
  const std::string folder = (folder_ / "beir").string();
  EXPECT_THAT(LoadDataset(folder, 100).status().message(), HasSubstr("has no run.trec"));
  Write("beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\n2\ta\t1\n1\tb\t2\n1\ta\t0\n");
  const auto judged = LoadDataset(folder, 100);
  ASSERT_TRUE(judged.ok()) << judged.status().ToString();
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(judged->pairs, testing::ElementsAre(Pair("one", "aa"), Pair("one", "B bb"), Pair("two", "aa")));
  EXPECT_EQ(judged->info.name, "beir");
  EXPECT_EQ(judged->info.bytes, 17);
  const auto first = LoadDataset(folder, 2);
  EXPECT_EQ(first->info.pairs, 2);
  EXPECT_NE(first->info.sha256, judged->info.sha256);
  Write("beir/run.trec", "2 Q0 b 1 9 t\n");
  EXPECT_THAT(LoadDataset(folder, 100)->pairs, testing::ElementsAre(Pair("two", "B bb")));
  Write("beir/run.trec", "2 Q0 c 1 9 t\n");
  EXPECT_THAT(LoadDataset(folder, 100).status().message(),
              AllOf(HasSubstr("no text of 'c'"), HasSubstr("corpus.jsonl")));
}

TEST_F(ExperimentTest, AMissingDataSetIsAnErrorAndNothingRuns) {
  EXPECT_EQ(LoadDataset((folder_ / "none.jsonl").string(), 1).status().code(), Code::kNotFound);
  ExperimentOptions options = Options("");
  options.overrides = {"experiment.dataset=/nowhere/x.jsonl"};
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(log_, HasSubstr("/nowhere/x.jsonl"));
  EXPECT_TRUE(reports_.empty());
}

TEST_F(ExperimentTest, RunsTheWholeGridBatchSizeOutermost) {
  const ExperimentOptions options =
      Options("  batch_sizes: [1, 2]\n  concurrency_levels: [1, 3]\n  benchmark_requests: 7\n");
  EXPECT_EQ(Run(options), 0) << log_;
  const ExperimentRecord record = Record();
  ASSERT_THAT(record.runs, SizeIs(1));
  ASSERT_THAT(record.runs[0].cells, SizeIs(4));
  EXPECT_EQ(record.runs[0].cells[1].batch, 1);
  EXPECT_EQ(record.runs[0].cells[1].concurrency, 3);
  EXPECT_EQ(record.runs[0].cells[2].batch, 2);
  EXPECT_EQ(record.runs[0].backend, "native") << "as the server says";
  for (const CellRecord& cell : record.runs[0].cells) {
    ASSERT_THAT(cell.requests, SizeIs(7));
    for (int i = 0; i < 7; ++i) {
      EXPECT_EQ(cell.requests[static_cast<size_t>(i)].index, i);
      EXPECT_GE(cell.requests[static_cast<size_t>(i)].latency_ms, cell.batch);
      EXPECT_EQ(cell.requests[static_cast<size_t>(i)].queue_ms, 2.125);
      EXPECT_EQ(cell.requests[static_cast<size_t>(i)].tokenize_ms, -1) << "not sent";
    }
    EXPECT_GE(cell.seconds * 1000, 7.0 * cell.batch / cell.concurrency);
  }
  EXPECT_EQ(reports_, std::vector<std::string>{(folder_ / "out/exp_results.md").string()});
  EXPECT_THAT(Result(".md"),
              AllOf(HasSubstr("| 2 | 3 | 14 |"),
                    HasSubstr("| Instance | fake-0: fake on cpu, int8, 2 workers (scripted) |")));
}

TEST_F(ExperimentTest, RewritingFromRawDataIsByteIdentical) {
  ASSERT_EQ(Run(Options("  benchmark_requests: 4\n")), 0) << log_;
  const std::string markdown = Result(".md"), csv = Result(".csv");
  Write("out/exp_results.md", "gone");
  Write("out/exp_results.csv", "gone");
  const auto path = RewriteReport((folder_ / "out/exp_results.json").string());
  ASSERT_TRUE(path.ok()) << path.status().ToString();
  EXPECT_EQ(Result(".md"), markdown);
  EXPECT_EQ(Result(".csv"), csv);
}

TEST_F(ExperimentTest, ASweepRunsAFreshServerForEachCombination) {
  EXPECT_EQ(Run(Options("  benchmark_requests: 2\n  batch_sizes: 1\nbatching: {timeout_ms: [5, 10]}\n")), 0)
      << log_;
  const ExperimentRecord record = Record();
  ASSERT_THAT(record.runs, SizeIs(2));
  EXPECT_EQ(record.runs[0].name, "exp_5ms");
  EXPECT_EQ(record.runs[1].name, "exp_10ms");
  EXPECT_NE(record.runs[0].server, record.runs[1].server) << "another port";
  EXPECT_THAT(record.runs[1].configuration, HasSubstr("timeout_ms: 10\n"));
}

TEST_F(ExperimentTest, AFailingCellIsAnErrorRowAndTheNextRuns) {
  for (const auto& [fault, text] :
       std::vector<std::pair<std::string, std::string>>{{"count", "2 scores for 3 pairs"},
                                                        {"nan", "a score is nan"},
                                                        {"error", "RESOURCE_EXHAUSTED: full"}}) {
    SetScript("FAKE_FAULT", fault);
    ExperimentOptions options = Options("  batch_sizes: [3, 2]\n  benchmark_requests: 3\n");
    options.overrides = {"experiment.warmup_iterations=0"};
    EXPECT_EQ(Run(options), 1);
    const ExperimentRecord record = Record();
    ASSERT_THAT(record.runs[0].cells, SizeIs(2));
    EXPECT_THAT(record.runs[0].cells[0].error, AllOf(HasSubstr("request 0"), HasSubstr(text)));
    EXPECT_TRUE(record.runs[0].cells[1].good());
    EXPECT_THAT(Result(".md"), HasSubstr("| 3 | 1 | ERROR |"));
  }
}

TEST_F(ExperimentTest, AServerThatDiesFailsItsCellAndANewOneServesTheNext) {
  SetScript("FAKE_DIE_AFTER", "4");
  EXPECT_EQ(Run(Options("  batch_sizes: 1\n  concurrency_levels: [1, 1]\n  benchmark_requests: 6\n")), 1);
  const ExperimentRecord record = Record();
  ASSERT_THAT(record.runs[0].cells, SizeIs(2));
  for (const CellRecord& cell : record.runs[0].cells) {
    EXPECT_THAT(cell.error, AllOf(HasSubstr("request 3"), HasSubstr("exit code 3")));
    EXPECT_THAT(cell.requests, SizeIs(4)) << "the answered requests are kept";
  }
}

TEST_F(ExperimentTest, AServerThatThisMachineCannotRunIsSkippedOnlyWhenAsked) {
  SetScript("FAKE_START", "fail");
  ExperimentOptions options = Options("  concurrency_levels: [1, 2]\n");
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(Record().runs[0].cells[1].error, HasSubstr("backend 'mps' is not here"));
  options.run.skip_unavailable = true;
  EXPECT_EQ(Run(options), 0);
  EXPECT_TRUE(Record().runs[0].cells[1].skipped);
}

TEST_F(ExperimentTest, AServerThatNeverBecomesReadyIsStopped) {
  SetScript("FAKE_START", "silent");
  ExperimentOptions options = Options("");
  options.run.server_ready_timeout_s = 0.3;
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(log_, HasSubstr("not ready after 0.3 s"));
  options.run.server_program = "/nowhere/rerankd";
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(log_, HasSubstr("cannot be executed"));
}

TEST_F(ExperimentTest, RunsByTimeAndKeepsTheBudget) {
  ASSERT_EQ(Run(Options("  batch_sizes: 1\n  benchmark_duration_s: 0.3\n  prefill_requests: 2\n")), 0)
      << log_;
  CellRecord cell = Record().runs[0].cells[0];
  EXPECT_NEAR(cell.seconds, 0.3, 0.2);
  EXPECT_GT(cell.requests.size(), 5u);
  EXPECT_EQ(cell.note, "");
  ExperimentOptions options = Options("  batch_sizes: 2\n  benchmark_requests: 1000000\n");
  options.run.budget_s = 0.2;
  ASSERT_EQ(Run(options), 0) << log_;
  cell = Record().runs[0].cells[0];
  EXPECT_LT(cell.seconds, 5);
  EXPECT_THAT(cell.note, HasSubstr("time budget of 0.2 s"));
  EXPECT_THAT(Result(".md"), HasSubstr("time budget"));
}

TEST_F(ExperimentTest, AnInterruptKeepsWhatIsDone) {
  std::thread interrupter([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    kill(getpid(), SIGINT);
  });
  EXPECT_EQ(Run(Options("  batch_sizes: [1, 2]\n  benchmark_requests: 1000000\n")), 130);
  interrupter.join();
  const ExperimentRecord record = Record();
  EXPECT_TRUE(record.partial);
  ASSERT_THAT(record.runs[0].cells, SizeIs(1));
  EXPECT_TRUE(record.runs[0].cells[0].good()) << record.runs[0].cells[0].error;
  EXPECT_GT(record.runs[0].cells[0].requests.size(), 5u);
  EXPECT_THAT(Result(".md"), testing::StartsWith("# exp (PARTIAL)\n"));
}

// What was run, what was not: each file is counted once.
TEST_F(ExperimentTest, TheSummaryOfAnInterruptedRunAddsUp) {
  ExperimentOptions options = Options("  benchmark_requests: 2\n  batch_sizes: 1\n");
  const std::string endless = Write(
      "endless.yaml", "experiment: {dataset: pairs.tsv, batch_sizes: [1], benchmark_requests: 1000000000}\n");
  options.files = {Write("bad.yaml", "nonsense: 1\n"), options.files[0], endless, endless, endless};
  std::thread interrupter([this] {
    const std::string second = ResultPath((folder_ / "out").string(), "exp", ".json");
    for (int i = 0; i < 500 && !fs::exists(second); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    kill(getpid(), SIGINT);
  });
  EXPECT_EQ(Run(options), 130);
  interrupter.join();
  EXPECT_THAT(log_, AllOf(HasSubstr("interrupted endless: "),
                          HasSubstr("5 experiments: 2 run, 0 skipped, 1 failed, 2 not reached\n")));
}

TEST_F(ExperimentTest, TheReportSaysWhatMadeItAndHowBusyTheMachineWas) {
  ExperimentOptions options = Options("  benchmark_requests: 2\n  batch_sizes: 1\n");
  options.run.commit = "c0ffee";
  ASSERT_EQ(Run(options), 0) << log_;
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : Record().environment) values[name] = value;
  EXPECT_EQ(values["Commit"], "c0ffee");
  EXPECT_THAT(values["Command"], HasSubstr("experiment_runner_test"));
  for (const char* when : {"before", "after"})
    EXPECT_THAT(values[std::string("Load average ") + when],
                testing::ContainsRegex("^[0-9]+\\.[0-9]{2}, [0-9.]+, [0-9.]+ \\(1, 5, 15 minutes\\)$"));
  for (const char* extension : {".md", ".html"})
    EXPECT_THAT(Result(extension), AllOf(HasSubstr("c0ffee"), HasSubstr("Load average before"),
                                         HasSubstr("Load average after")));
  EXPECT_GT(Record().runs[0].cells[0].server_resident_bytes, 1 << 20);
}

// A second holder in this process is refused as one in another is: the lock is of the open file.
TEST_F(ExperimentTest, AResultsFolderIsUsedByOneRunAtATime) {
  const ExperimentOptions options = Options("  benchmark_requests: 2\n  batch_sizes: 1\n");
  {
    const auto held = ResultsFolder::Take(options.run.out);
    ASSERT_TRUE(held.ok()) << held.status().ToString();
    EXPECT_EQ(Run(options), 1);
    EXPECT_THAT(log_, AllOf(HasSubstr(options.run.out + " is in use by another"),
                            HasSubstr(fmt::format("(pid {})", getpid())), HasSubstr("--out")));
    EXPECT_THAT(reports_, SizeIs(0));
  }
  EXPECT_EQ(Run(options), 0) << log_;
  EXPECT_FALSE(fs::exists(fs::path(options.run.out) / ".rerankd.lock"));
  std::ofstream(fs::path(options.run.out) / ".rerankd.lock") << "1";  // of a run that was killed
  EXPECT_EQ(Run(options), 0) << log_;
}

TEST_F(ExperimentTest, WrongFilesAreUsageErrorsAndDoNotKeepTheNextFromRunning) {
  ExperimentOptions options = Options("  benchmark_requests: 1\n");
  options.files.insert(options.files.begin(), Write("bad.yaml", "batching: {max_bach_size: 4}\n"));
  EXPECT_EQ(Run(options), 2);
  EXPECT_THAT(log_,
              AllOf(HasSubstr("did you mean 'batching.max_batch_size'"), HasSubstr("2 experiments: 1 run")));
  EXPECT_THAT(reports_, SizeIs(1));
}

TEST_F(ExperimentTest, ARunWithoutResultsLeavesNoFolder) {
  ExperimentOptions options = Options("");
  options.files = {Write("bad.yaml", "batching: {max_bach_size: 4}\n")};
  options.run.out += "/new";
  EXPECT_EQ(Run(options), 2);
  EXPECT_FALSE(fs::exists(options.run.out));
}

TEST_F(ExperimentTest, AResultsFolderThatCannotBeMadeIsAnError) {
  ExperimentOptions options = Options("");
  options.run.out = Write("file", "x") + "/out";
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(log_, HasSubstr("cannot make the results folder"));
}

TEST_F(ExperimentTest, AServerWithUselessMetricsStillGetsItsReport) {
  SetScript("FAKE_METRICS", Write("bad.json", "<html>"));
  EXPECT_EQ(Run(Options("  benchmark_requests: 2\n  batch_sizes: 1\n")), 0);
  EXPECT_THAT(log_, HasSubstr("no server metrics"));
  EXPECT_EQ(Record().runs[0].metrics_json, "");
  EXPECT_THAT(Result(".md"), HasSubstr("| 1 | 1 | 2 |"));
}

TEST_F(ExperimentTest, RepeatsRunTheGridAgainAndAreOneCell) {
  ASSERT_EQ(Run(Options("  batch_sizes: [1, 2]\n  benchmark_requests: 4\n  repeats: 3\n")), 0) << log_;
  const ExperimentRecord record = Record();
  ASSERT_THAT(record.runs[0].cells, SizeIs(2));
  for (const CellRecord& cell : record.runs[0].cells) {
    ASSERT_THAT(cell.repeats, SizeIs(3));
    ASSERT_THAT(cell.requests, SizeIs(12));
    EXPECT_EQ(cell.requests[11].repeat, 2);
    EXPECT_EQ(cell.requests[11].index, 3);
    EXPECT_GT(cell.requests[4].start_ms, cell.requests[3].start_ms) << "one after another";
    EXPECT_GT(cell.repeats[1].before.step_ns, 0);
    EXPECT_NEAR(cell.seconds, cell.repeats[0].seconds + cell.repeats[1].seconds + cell.repeats[2].seconds,
                1e-9);
  }
  // Rounds: both cells before either again.
  const size_t one = log_.find("batch    1"), two = log_.find("batch    2");
  EXPECT_LT(one, two);
  EXPECT_GT(log_.find("batch    1", two), two);
  EXPECT_THAT(Result(".md"),
              AllOf(HasSubstr("| 1 | 1 | 3 |"), HasSubstr("## Repeats"), HasSubstr("| 2 | 1 | 24 |")));
}

TEST_F(ExperimentTest, AnOpenLoopIsMeasuredFromTheTimeARequestIsDue) {
  ASSERT_EQ(Run(Options("  batch_sizes: [2]\n  load: open\n  rates: [100]\n  benchmark_requests: 30\n")), 0)
      << log_;
  const CellRecord cell = Record().runs[0].cells[0];
  EXPECT_EQ(cell.rate_name, "100");
  EXPECT_EQ(cell.rate, 100);
  EXPECT_THAT(cell.requests, SizeIs(30));
  EXPECT_GT(cell.seconds, 0.1) << "30 requests at 100/s";
  EXPECT_GT(cell.concurrency, 0) << "the most that were in flight";
  for (const RequestSample& r : cell.requests) EXPECT_GE(r.latency_ms, r.late_ms);
  EXPECT_THAT(Result(".md"), AllOf(HasSubstr("## Open Loop"), HasSubstr("| 2 | 100 | 100.0 |")));
}

TEST_F(ExperimentTest, ARateMayBeAShareOfCapacity) {
  ExperimentOptions options =
      Options("  batch_sizes: [2]\n  load: open\n  rates: [50%, 10%]\n  benchmark_requests: 5\n");
  options.run.budget_s = 0.2;
  ASSERT_EQ(Run(options), 0) << log_;
  const auto cells = Record().runs[0].cells;
  ASSERT_THAT(cells, SizeIs(2));
  EXPECT_GT(cells[0].capacity, 0);
  EXPECT_EQ(cells[1].capacity, cells[0].capacity) << "measured once";
  EXPECT_NEAR(cells[0].rate, cells[0].capacity / 2, 1e-9);
}

TEST_F(ExperimentTest, FailuresOfAnOpenLoopAreCountedAndOnlyAllOfThemFailTheCell) {
  SetScript("FAKE_FAULT", "error");  // of requests of 3 pairs: all
  ExperimentOptions options =
      Options("  batch_sizes: [3, 2]\n  load: open\n  rates: [200]\n  benchmark_requests: 10\n");
  options.overrides = {"experiment.warmup_iterations=0"};
  EXPECT_EQ(Run(options), 1);
  const auto cells = Record().runs[0].cells;
  EXPECT_THAT(cells[0].error, HasSubstr("full"));
  EXPECT_THAT(cells[0].requests, SizeIs(10)) << "a failure does not end it";
  EXPECT_TRUE(cells[1].good());
}

TEST_F(ExperimentTest, ABackgroundLoadRunsBesideTheMeasuredOne) {
  ASSERT_EQ(Run(Options("  batch_sizes: [1]\n  benchmark_duration_s: 0.3\n  background: {batch_size: 20, "
                        "concurrency: 2}\n")),
            0)
      << log_;
  const CellRecord cell = Record().runs[0].cells[0];
  EXPECT_THAT(cell.note, HasSubstr("requests of 20 pairs, 2 in flight, were answered beside it"));
  EXPECT_THAT(cell.note, testing::Not(testing::StartsWith("0 requests")));
  EXPECT_EQ(cell.real_tokens, -1) << "cannot be told apart";
  for (const RequestSample& r : cell.requests) EXPECT_EQ(r.pairs, 1);
}

class QualityTest : public ExperimentTest {
 protected:
  void SetUp() override {
    ExperimentTest::SetUp();
    fs::create_directories(folder_ / "set/runs");
    Write("set/queries.jsonl",
          "{\"_id\": \"q1\", \"text\": \"one\"}\n{\"_id\": \"q2\", \"text\": \"two\"}\n");
    Write(
        "set/corpus.jsonl",
        "{\"_id\": \"a\", \"text\": \"12\"}\n{\"_id\": \"b\", \"text\": \"123\"}\n{\"_id\": \"c\", \"text\": "
        "\"12345\"}\n");
    Write("set/runs/first.trec",
          "q1 Q0 a 1 9 t\nq1 Q0 b 2 8 t\nq1 Q0 c 3 7 t\nq2 Q0 a 1 9 t\nq2 Q0 c 2 8 t\n");
    Write("set/qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tc\t2\nq2\ta\t2\n");
  }
  static constexpr const char* kYaml =
      "  batch_sizes: 1\n  benchmark_requests: 2\n  quality: {data: set}\nmodel: {precision: [fp32, int8]}\n";
};

TEST_F(QualityTest, RankingIsComparedWithJudgementsAndWithFp32) {
  ASSERT_EQ(Run(Options(kYaml)), 0) << log_;
  const ExperimentRecord record = Record();
  ASSERT_TRUE(record.runs[0].quality && record.runs[1].quality);
  const QualityRecord& exact = *record.runs[0].quality;
  EXPECT_EQ(exact.queries, 2);
  EXPECT_EQ(exact.pairs, 5);
  // q1: c, b, a: c is first. q2: c, a: a is second.
  EXPECT_NEAR(exact.ndcg10, (1 + 1 / std::log2(3)) / 2, 1e-12);
  EXPECT_NEAR(exact.mrr10, 0.75, 1e-12);
  ASSERT_THAT(exact.by_query, SizeIs(2));
  EXPECT_EQ(exact.by_query[1].id, "q2");
  EXPECT_EQ(exact.by_query[1].mrr10, 0.5);
  EXPECT_NEAR(exact.by_query[1].ndcg10, 1 / std::log2(3), 1e-12);
  EXPECT_NEAR(exact.first_stage_mrr10, (1.0 / 3 + 1) / 2, 1e-12);
  ASSERT_TRUE(exact.fp32);
  EXPECT_EQ(exact.fp32->max_difference, 0);
  EXPECT_EQ(exact.fp32->kendall_tau, 1);
  const QualityRecord& rounded = *record.runs[1].quality;  // 2, 2, 4 for lengths 2, 3, 5
  ASSERT_TRUE(rounded.fp32);
  EXPECT_EQ(rounded.fp32->max_difference, 1);
  EXPECT_LT(rounded.fp32->kendall_tau, 1);
  EXPECT_FALSE(rounded.given);
  EXPECT_THAT(Result(".md"), AllOf(HasSubstr("## Quality"), HasSubstr("| this model | 0.8155 | 0.7500 |"),
                                   HasSubstr("| fp32 | 2 | 1.00000 |")));
  EXPECT_THAT(Result(".html"), HasSubstr("Against fp32"));
}

TEST_F(QualityTest, GivenScoresAreComparedToo) {
  const std::string given =
      Write("given.trec", "q1 Q0 c 1 5 t\nq1 Q0 b 2 3 t\nq1 Q0 a 3 2 t\nq2 Q0 c 1 5.5 t\nq2 Q0 a 2 2 t\n");
  ExperimentOptions options = Options(
      "  batch_sizes: 1\n  benchmark_requests: 1\n  quality: {data: set, scores: given.trec}\n"
      "model: {precision: fp32}\n");
  ASSERT_EQ(Run(options), 0) << log_;
  const QualityRecord quality = *Record().runs[0].quality;
  ASSERT_TRUE(quality.given);
  EXPECT_EQ(quality.given->spearman, 1);
  EXPECT_NEAR(quality.given->max_difference, 0.5, 1e-6);
  EXPECT_NEAR(quality.given->mean_difference, 0.1, 1e-6);
}

TEST_F(QualityTest, ARankingThatFailsIsAFailure) {
  SetScript("FAKE_RANKING", "fail");
  EXPECT_EQ(Run(Options(kYaml)), 1);
  EXPECT_THAT(Record().runs[0].quality->error, HasSubstr("no ranking"));
  EXPECT_TRUE(Record().runs[0].cells[0].good()) << "the speed was measured";
  EXPECT_THAT(Result(".md"), HasSubstr("Not complete: ranking on the server"));
}

TEST_F(QualityTest, WhatIsMissingIsNamedBeforeAnythingRuns) {
  fs::remove(folder_ / "set/queries.jsonl");
  EXPECT_EQ(Run(Options(kYaml)), 1);
  EXPECT_THAT(log_, AllOf(HasSubstr("queries.jsonl"), testing::Not(HasSubstr("pairs/s"))));
  log_.clear();
  Write("set/queries.jsonl", "{\"_id\": \"q1\", \"text\": \"one\"}\n");
  EXPECT_EQ(Run(Options(kYaml)), 1);
  EXPECT_THAT(log_, HasSubstr("no text of 'q2'"));
  log_.clear();
  Write("set/runs/second.trec", "q1 Q0 a 1 9 t\n");
  EXPECT_EQ(Run(Options(kYaml)), 1);
  EXPECT_THAT(log_, HasSubstr("2 files in runs/"));
}

std::string TeiReply(const std::string& body, const char* status = "200 OK") {
  return fmt::format("HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", status,
                     body.size(), body);
}

// Servers that run already: one over gRPC, one over HTTP, then every kind that cannot be measured.
TEST_F(ExperimentTest, TargetsAreMeasuredOneAfterAnotherAndABadOneCostsItsOwnCellsOnly) {
  const std::atomic<bool> never{false};
  auto own = ServerProcess::Serve(FAKE_SERVER, "", 10, never);
  ASSERT_TRUE(own.ok()) << own.status().ToString();
  std::atomic<int> with_key{0};
  load::RawServer good([&](int, const std::string& request) {
    with_key += request.find("Authorization: Bearer sesame\r\n") != std::string::npos ? 1 : 0;
    return load::RawReply{TeiReply(R"([{"index":1,"score":0.5},{"index":0,"score":0.25}])")};
  });
  const auto answering = [](std::string bytes, bool close) {
    return std::make_unique<load::RawServer>([bytes, close](int, const std::string&) {
      return load::RawReply{bytes, close};
    });
  };
  const auto garbage = answering(TeiReply("<html>"), false);
  const auto broken = answering(TeiReply("broke", "500 Internal Server Error"), false);
  const auto half = answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{", true);
  const auto few = answering(TeiReply(R"([{"index":0,"score":1}])"), false);
  const auto nan = answering(TeiReply(R"([{"index":0,"score":NaN},{"index":1,"score":1}])"), false);
  const auto url = [](const load::RawServer& server) {
    return fmt::format("tei http://127.0.0.1:{}", server.port());
  };
  std::string targets = fmt::format("rerankd {}, {}", (*own)->grpc_address(), url(good));
  for (const auto* server : {&garbage, &broken, &half, &few, &nan}) targets += ", " + url(**server);
  targets += ", cohere http://127.0.0.1:1";
  Write("key", "sesame\n");
  EXPECT_EQ(
      Run(Options(fmt::format("  batch_sizes: [2]\n  concurrency_levels: [1, 2]\n  benchmark_requests: 4\n"
                              "  api_key_file: key\n  targets: [{}]\n",
                              targets))),
      1);
  const ExperimentRecord record = Record();
  ASSERT_THAT(record.runs, SizeIs(8));
  for (const size_t run : {0, 1}) {
    ASSERT_THAT(record.runs[run].cells, SizeIs(2));
    for (const CellRecord& cell : record.runs[run].cells) {
      EXPECT_TRUE(cell.good()) << cell.error;
      EXPECT_THAT(cell.requests, SizeIs(4));
      EXPECT_EQ(cell.server_cpu_s, -1) << "not our process";
    }
  }
  EXPECT_EQ(with_key, 2 * (1 + 4));
  EXPECT_EQ(record.runs[1].backend, "tei");
  EXPECT_EQ(record.runs[1].device, fmt::format("http://127.0.0.1:{}", good.port()));
  EXPECT_THAT(record.runs[1].configuration, testing::Not(HasSubstr("precision")))
      << "nothing of a server of ours";
  const char* reasons[] = {"garbage",        "500",        "connection failed",
                           "1 scores for 2", "not finite", "connection failed"};
  for (size_t i = 0; i < std::size(reasons); ++i)
    for (const CellRecord& cell : record.runs[2 + i].cells) EXPECT_THAT(cell.error, HasSubstr(reasons[i]));
  EXPECT_THAT(Result(".md"), HasSubstr(fmt::format("# exp_tei@127.0.0.1:{}", good.port())));
  EXPECT_EQ(RewriteReport(ResultPath((folder_ / "out").string(), "exp", ".json")).status().ToString(),
            Status().ToString());
}

TEST_F(ExperimentTest, TargetsThatCannotBeAreErrorsBeforeAnythingRuns) {
  EXPECT_EQ(Run(Options("  targets: [teii http://h:1]\n")), 1);
  EXPECT_THAT(log_, AllOf(HasSubstr("experiment.targets: teii"), HasSubstr("did you mean 'tei'")));
  EXPECT_EQ(Run(Options("  targets: [tei https://h:1]\n")), 1);
  EXPECT_EQ(Run(Options("  targets: [tei http://127.0.0.1:1]\n  api_key_file: nowhere\n")), 1);
  EXPECT_THAT(log_, AllOf(HasSubstr("https"), HasSubstr("nowhere"), testing::Not(HasSubstr("pairs/s"))));
}

TEST_F(ExperimentTest, AResultsFolderThatCannotBeWrittenIsAnErrorBeforeAnythingRuns) {
  ExperimentOptions options = Options("");
  options.run.out = "/proc";
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(log_, AllOf(HasSubstr("results folder"), HasSubstr("/proc")));
  EXPECT_THAT(log_, testing::Not(HasSubstr("pairs/s")));
}

TEST_F(ExperimentTest, ThePairsOfARequestThatWrapsTheDataSetAreScoredOrTheReportSaysSo) {
  ASSERT_EQ(Run(Options("  batch_sizes: [5]\n  benchmark_requests: 1\n")), 0) << log_;
  EXPECT_THAT(Record().runs[0].configuration, HasSubstr("merge_equal: false"));
  EXPECT_EQ(Record().runs[0].cells[0].note, "");
  ASSERT_EQ(Run(Options("  batch_sizes: [5]\n  benchmark_requests: 1\ndocuments: {merge_equal: true}\n")), 0)
      << log_;
  EXPECT_THAT(Record().runs[0].cells[0].note, HasSubstr("data set of 3"));
}

// A catalogue of four: one that runs, one that this machine cannot run, one that fails, one that is wrong.
TEST_F(ExperimentTest, AllOfACatalogueRunsAndTheSummaryGivesReasons) {
  const fs::path catalogue = folder_ / "catalogue";
  fs::create_directories(catalogue);
  Write("catalogue/pairs.tsv", "q\td\n");
  Write("catalogue/base_config.yaml",
        "experiment: {dataset: pairs.tsv, batch_sizes: [1], benchmark_requests: 100000, warmup_iterations: "
        "0}\n");
  Write("catalogue/01_runs.yaml", "name: 01_runs\ndescription: d\n");
  Write("catalogue/02_skipped.yaml", "name: 02_skipped\nmodel: {backend: mps, device: mps}\n");
  Write("catalogue/03_fails.yaml", "name: 03_fails\nexperiment: {dataset: nowhere.tsv}\n");
  Write("catalogue/04_wrong.yaml", "name: 04_wrong\nexperiment: {batch_sises: [1]}\n");
  SetScript("RERANKD_EXPERIMENTS_DIR", catalogue.string());
  SetScript("FAKE_START", "backend");
  ExperimentOptions options = Options("");
  options.files.clear();
  options.all = true;
  options.run.budget_s = 0.2;
  EXPECT_EQ(Run(options), 1);
  EXPECT_THAT(
      log_,
      AllOf(HasSubstr("[1/4] 01_runs"), HasSubstr("[4/4] 04_wrong"),
            HasSubstr("4 experiments: 1 run, 1 skipped, 2 failed"), HasSubstr("skipped 02_skipped: "),
            HasSubstr("backend 'mps' is not here"), HasSubstr("failed 03_fails: "), HasSubstr("nowhere.tsv"),
            HasSubstr("failed 04_wrong: "), HasSubstr("did you mean 'experiment.batch_sizes'")));
  EXPECT_THAT(reports_, SizeIs(2));
  const auto index = ReadFile((folder_ / "out/index.html").string());
  ASSERT_TRUE(index.ok());
  EXPECT_THAT(*index, AllOf(HasSubstr("01_runs_results.html"), HasSubstr("02_skipped"),
                            HasSubstr("no cell succeeded")));
  const auto record = RecordFromJson(*ReadFile((folder_ / "out/01_runs_results.json").string()));
  ASSERT_TRUE(record.ok());
  EXPECT_THAT(record->runs[0].cells[0].note, HasSubstr("time budget of 0.2 s"));
}

TEST(Catalogue, EveryExperimentOfTheRepositoryLoads) {
  setenv("RERANKD_EXPERIMENTS_DIR", RERANKD_SOURCE_DIR "/experiments", 1);
  const auto list = ListExperiments();
  ASSERT_TRUE(list.ok()) << list.status().ToString();
  EXPECT_THAT(*list, HasSubstr("06a_concurrency"));
  for (const fs::directory_entry& entry : fs::directory_iterator(RERANKD_SOURCE_DIR "/experiments")) {
    if (entry.path().extension() != ".yaml" || entry.path().filename() == "base_config.yaml") continue;
    const auto plan = LoadExperiment({entry.path().string(), {}, {}, false});
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    if (plan.ok()) {
      EXPECT_NE(plan->variants.front().settings.description, "") << entry.path();
    }
  }
  const auto shown = ShowExperiment("06a_concurrency", {});
  ASSERT_TRUE(shown.ok()) << shown.status().ToString();
  EXPECT_THAT(*shown, AllOf(HasSubstr("batch_sizes: [96]\n"),
                            HasSubstr("concurrency_levels: [1, 2, 3, 4, 6, 8, 12]\n"),
                            HasSubstr("backend: \"native\"\n")));
  EXPECT_EQ(ShowExperiment("no_such_experiment", {}).status().code(), Code::kNotFound);
  unsetenv("RERANKD_EXPERIMENTS_DIR");
}

TEST(HttpGet, SaysWhyThereIsNoAnswer) {
  EXPECT_THAT(HttpGet("http://127.0.0.1:1/x", 1000).status().message(), HasSubstr("127.0.0.1:1"));
}

}  // namespace
}  // namespace rerankd::experiment
