// Two results side by side, without any server.
#include "experiment/compare.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "experiment/testing/records.h"

namespace rerankd::experiment {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

ComparedResult ResultOf(const ExperimentRecord& record) {
  const auto result = ReadComparedResult(RecordToJson(record));
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  return result.ok() ? *result : ComparedResult();
}

std::vector<Measure> MeasuresOfRecord(double latency_ms) { return ResultOf(SomeRecord(latency_ms)).measures; }

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
  return ResultOf(record).measures;
}

TEST(Compare, ADifferenceIsClaimedOnlyFromRepeatsThatShowIt) {
  const auto verdicts = [](const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<std::string> texts;
    for (const Comparison& c : Compare(MeasuresOfRepeats(a), MeasuresOfRepeats(b)))
      texts.push_back(Verdict(c));
    return texts;
  };
  EXPECT_THAT(verdicts({1}, {2}), Each("too few repeats to tell"))
      << "how much another run would differ, nobody knows";
  EXPECT_THAT(verdicts({1, 1.01}, {2, 2.01}), Each("too few repeats to tell"));
  EXPECT_THAT(verdicts({1, 1.01, 1.02}, {2, 2.01}), Each("too few repeats to tell"));
  EXPECT_THAT(verdicts({1}, {1}), Each("no difference shown"));
  EXPECT_THAT(verdicts({1, 1.01, 0.99}, {2, 2.01, 1.99}), Each("better"));
  EXPECT_THAT(verdicts({2, 2.01, 1.99}, {1, 1.01, 0.99}), Each("worse"));
  // All of B above all of A, which a bootstrap over three takes for certain. Student's t does not.
  EXPECT_THAT(verdicts({1, 1.01, 1.02}, {1.021, 1.03, 1.04}), Each("no difference shown"));
  EXPECT_THAT(ComparisonTable({"a", "b", Compare(MeasuresOfRepeats({1}), MeasuresOfRepeats({2})), {}, {}}),
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
    return ReadComparedResult(
               "{\"format\": \"rerankd-load\", \"pairs_per_s\": " + std::to_string(rate) +
               ", \"goodput_requests_per_s\": 1, \"latency_ms\": {\"p50\": 2, \"p99\": 3}, \"windows\": [" +
               windows + "]}")
        ->measures;
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
    return ReadComparedResult(fmt::format(
        R"({{"format": "rerankd-load", "pairs_per_s": 100, "windows": [], "repeats": {{"pairs_per_s": {{"values": {}}}}}}})",
        rates));
  };
  const auto result = Compare(load("[99, 100, 101]")->measures, load("[79, 80, 81]")->measures);
  ASSERT_TRUE(result[0].range);
  EXPECT_LT(result[0].range->second, 0.83);
  EXPECT_FALSE(result[2].range);
  EXPECT_THAT(load("[\"x\"]").status().message(), HasSubstr("damaged"));
}

TEST(Compare, AnyOtherJsonIsComparedNumberByNumber) {
  const auto a = ReadComparedResult(R"({"peak": {"gflops": 10, "name": "x"}, "stages": [{"total_ms": 4}]})");
  const auto b = ReadComparedResult(R"({"peak": {"gflops": 5}, "stages": [{"total_ms": 2}], "new": 1})");
  const auto result = Compare(a->measures, b->measures);
  ASSERT_THAT(result, SizeIs(2));
  EXPECT_EQ(result[0].name, "peak.gflops");
  EXPECT_EQ(result[0].ratio, 0.5);
  EXPECT_EQ(result[1].ratio, 2);  // half the time
  EXPECT_FALSE(ReadComparedResult("{").ok());
  EXPECT_FALSE(ReadComparedResult("{\"a\": \"text\"}").ok());
}

// nDCG@10 and MRR@10 of each query; both agree with fp32 as far as `spearman`.
ExperimentRecord Judged(const std::vector<std::pair<double, double>>& queries, double spearman) {
  ExperimentRecord record = SomeRecord();
  QualityRecord quality{"set", "", static_cast<int>(queries.size()), 80, true, 0, 0, 0, 0, {}, {}, {}};
  for (const auto& [ndcg, mrr] : queries) {
    quality.ndcg10 += ndcg / static_cast<double>(queries.size());
    quality.mrr10 += mrr / static_cast<double>(queries.size());
    quality.by_query.push_back({fmt::format("q{}", quality.by_query.size()), ndcg, mrr});
  }
  quality.fp32 = AgreementRecord{8, spearman, 0.9, 1, 0.01, 0.02, false, 0, 0, 0};
  record.runs[0].quality = quality;
  return record;
}

TEST(CompareRanking, ADifferenceIsClaimedWhereQueriesShowIt) {
  const auto a = ResultOf(Judged({{0.5, 0.2}, {0.6, 1}, {0.7, 0.5}, {0.4, 1}}, 1));
  const auto b = ResultOf(Judged({{0.4, 0.2}, {0.45, 1}, {0.6, 0.5}, {0.25, 1}}, 0.98));
  const auto changes = CompareRanking(a.ranking, b.ranking);
  ASSERT_THAT(changes, SizeIs(6));  // nDCG, MRR, four of agreement
  EXPECT_EQ(changes[0].name, "nDCG@10");
  EXPECT_NEAR(changes[0].b - changes[0].a, -0.125, 1e-12);
  EXPECT_EQ(changes[0].queries, 4u);
  ASSERT_TRUE(changes[0].range);
  EXPECT_GE(changes[0].range->first, -0.15 - 1e-12);
  EXPECT_LE(changes[0].range->second, -0.1 + 1e-12);
  EXPECT_STREQ(Verdict(changes[0]), "worse");
  EXPECT_STREQ(Verdict(CompareRanking(b.ranking, a.ranking)[0]), "better");
  EXPECT_EQ(changes[1].name, "MRR@10");
  EXPECT_STREQ(Verdict(changes[1]), "no difference shown");
  EXPECT_EQ(changes[2].name, "with fp32: Spearman");
  EXPECT_NEAR(changes[2].b - changes[2].a, -0.02, 1e-12);
  EXPECT_STREQ(Verdict(changes[2]), "") << "agreement is no merit in itself";
}

TEST(CompareRanking, WithoutTheSameQueriesThereIsNoInterval) {
  ExperimentRecord other = Judged({{0.4, 0.2}, {0.45, 1}, {0.6, 0.5}}, 1);
  other.runs[0].quality->by_query[2].id = "another";
  const auto a = ResultOf(Judged({{0.5, 0.2}, {0.6, 1}, {0.7, 0.5}}, 1));
  const auto changes = CompareRanking(a.ranking, ResultOf(other).ranking);
  EXPECT_FALSE(changes[0].range);
  EXPECT_STREQ(Verdict(changes[0]), "no interval");
  other.runs[0].quality->by_query.clear();  // raw data of earlier versions
  EXPECT_FALSE(CompareRanking(a.ranking, ResultOf(other).ranking)[0].range);
}

TEST(CompareRanking, WhatOneLacksIsNamed) {
  const auto a = ResultOf(Judged({{0.5, 0.2}}, 1)), b = ResultOf(SomeRecord());
  EXPECT_THAT(CompareRanking(a.ranking, b.ranking), IsEmpty());
  EXPECT_THAT(Missing(a.ranking, b.ranking), testing::Contains("nDCG@10"));
  EXPECT_EQ(*WorstRate(Compare(a.measures, b.measures)), 1) << "ranking is no rate";
}

TEST(CompareReport, TableJsonAndPageHoldSpeedAndRanking) {
  const auto a = ResultOf(Judged({{0.5, 0.2}, {0.6, 1}, {0.7, 0.5}}, 1));
  const auto b = ResultOf(Judged({{0.4, 0.2}, {0.45, 1}, {0.6, 0.5}}, 0.98));
  const ResultComparison comparison{
      "a<b.json", "c.json", Compare(a.measures, b.measures), CompareRanking(a.ranking, b.ranking), {}};
  EXPECT_THAT(ComparisonTable(comparison),
              AllOf(testing::ContainsRegex("nDCG@10 +0.60000 +0.48333 +-0.11667 +-0.1500 .. -0.1000  worse"),
                    HasSubstr("batch=8, conc=1: pairs/s"), HasSubstr("with fp32: top-10 overlap")));
  EXPECT_THAT(ComparisonJson(comparison), AllOf(HasSubstr("\"difference\": -0.1166"),
                                                HasSubstr("\"queries\": 3"), HasSubstr("\"ratio\"")));
  EXPECT_THAT(ComparisonHtml(comparison),
              AllOf(HasSubstr("a&lt;b.json"), HasSubstr("<h2>Ranking</h2>"), HasSubstr("<td>-0.11667</td>"),
                    HasSubstr("<td>worse</td>"), HasSubstr("<svg")));
}

TEST(CompareReport, WithoutRankingThereIsNoSectionOfIt) {
  const ResultComparison comparison{
      "a", "b", Compare(MeasuresOfRepeats({1, 1.01, 1}), MeasuresOfRepeats({2, 2.01, 2})), {}, {}};
  EXPECT_THAT(ComparisonTable(comparison), AllOf(HasSubstr("better"), Not(HasSubstr("Ranking"))));
  EXPECT_THAT(ComparisonHtml(comparison), AllOf(HasSubstr("<td>better</td>"), Not(HasSubstr("Ranking"))));
}

// As a run of our own server records it.
ExperimentRecord Recorded() {
  ExperimentRecord record = SomeRecord();
  record.environment = {{"CPU", "one"},    {"Cores", "2 physical"},  {"rerankd", "1.0"},
                        {"Commit", "abc"}, {"Command", "rerankd x"}, {"Load average before", "1.00"}};
  RunRecord& run = record.runs[0];
  run.dataset = {"pairs.tsv", "ab12", 500, 1000};
  run.model_sha256 = "m1";
  run.instances = {"native-0: native on cpu"};
  run.configuration =
      "name: \"x\"\nmodel_pool:\n  routing: \"a\"\n  instances:\n    - name: \"m\"\n      threads: 2\n"
      "experiment:\n  batch_sizes: [8, 16]\n  warmup_iterations: 3\n";
  return record;
}

std::vector<std::string> DifferencesTo(const ExperimentRecord& a, const ExperimentRecord& b) {
  std::vector<std::string> texts;
  for (const Difference& d : DifferencesOf(ResultOf(a), ResultOf(b)))
    texts.push_back(fmt::format("{}{}{}: {} / {}", d.name, d.runs.empty() ? "" : " ", d.runs, d.a, d.b));
  return texts;
}

TEST(Conditions, TheSameMeasurementAgainHasNoDifference) {
  ExperimentRecord again = Recorded();
  again.environment[4].second = "rerankd y";
  again.environment[5].second = "9.99";
  again.runs[0].name = "other";
  again.runs[0].timestamp = "2030-01-01 00:00:00";
  again.runs[0].dataset.name = "copy.tsv";
  again.runs[0].configuration.replace(again.runs[0].configuration.find("[8, 16]"), 7, "[8]");
  EXPECT_THAT(DifferencesTo(Recorded(), again), IsEmpty());
}

TEST(Conditions, EveryDifferenceIsNamedWithBothValues) {
  ExperimentRecord other = Recorded();
  other.partial = true;
  other.environment = {{"CPU", "two"}, {"Cores", "4 physical"}, {"rerankd", "1.1"}};
  RunRecord& run = other.runs[0];
  run.dataset.sha256 = "cd34";
  run.model_sha256 = "m2";
  run.instances = {"native-0: native on cpu, 4 workers"};
  run.configuration.replace(run.configuration.find("threads: 2"), 10, "threads: 4");
  run.configuration.replace(run.configuration.find("iterations: 3"), 13, "iterations: 9");
  EXPECT_THAT(DifferencesTo(Recorded(), other),
              testing::ElementsAre("completeness: complete / PARTIAL", "CPU: one / two",
                                   "Cores: 2 physical / 4 physical", "rerankd: 1.0 / 1.1",
                                   "Commit: abc / not recorded",
                                   "data set: 500 pairs, sha256 ab12 / 500 pairs, sha256 cd34",
                                   "model files: sha256 m1 / sha256 m2",
                                   "instances: native-0: native on cpu / native-0: native on cpu, 4 workers",
                                   "model.threads: 2 / 4", "experiment.warmup_iterations: 3 / 9"));
}

TEST(Conditions, RunsOfASweepAreComparedEachWithItsOwn) {
  ExperimentRecord a = Recorded(), b = Recorded();
  for (ExperimentRecord* record : {&a, &b}) {
    record->runs.resize(3, record->runs[0]);
    for (size_t i = 0; i < 3; ++i) record->runs[i].label = fmt::format("_{}", i);
  }
  b.runs[0].model = b.runs[2].model = "other";
  EXPECT_THAT(DifferencesTo(a, b), testing::ElementsAre("model _0, _2: m / other"));
  b.runs.erase(b.runs.begin());
  EXPECT_THAT(DifferencesTo(a, b), testing::ElementsAre("model _2: m / other")) << "_0 is not compared";
}

TEST(Conditions, AMachineOfAnotherSpeedIsADifference) {
  ExperimentRecord slow = Recorded(), fast = Recorded();
  slow.runs[0].cells[0].repeats = {{1, {1.30, 0}, {1.28, 0}}};
  fast.runs[0].cells[0].repeats = {{1, {1.00, 0}, {1.00, 0}}};
  EXPECT_THAT(DifferencesTo(slow, fast),
              testing::ElementsAre(
                  "speed of the machine: 1.290 ns for a fixed step of work / 1.000 ns, 29 % faster"));
  slow.runs[0].cells[0].repeats = {{1, {1.03, 0}, {1.03, 0}}};
  EXPECT_THAT(DifferencesTo(slow, fast), IsEmpty()) << "3 % is noise";
}

TEST(Conditions, LoadsAndOtherJsonAreComparedToo) {
  const auto differences = [](const char* a, const char* b) {
    std::string text;
    for (const Difference& d : DifferencesOf(*ReadComparedResult(a), *ReadComparedResult(b)))
      text += fmt::format("{}: {} / {}\n", d.name, d.a, d.b);
    return text;
  };
  EXPECT_EQ(
      differences(
          R"({"format": "rerankd-load", "partial": false, "model": "m", "protocol": "tei", "target": "a",
                            "data": {"name": "x", "sha256": "ab", "pairs": 5}, "load": {"mode": "closed",
                            "concurrency": 4}, "machine": {"cpu": "one", "cores": 2}})",
          R"({"format": "rerankd-load", "partial": true, "model": "n", "protocol": "tei", "target": "b",
                            "data": {"name": "y", "sha256": "cd", "pairs": 5}, "load": {"mode": "closed",
                            "concurrency": 8}, "machine": {"cpu": "one", "cores": 2}})"),
      "partial: false / true\nmodel: m / n\nload.concurrency: 4 / 8\ndata.sha256: ab / cd\n");
  EXPECT_EQ(differences(R"({"format": "rerankd-max-rate", "arrivals": "poisson", "slo": {"p99_ms": 100},
                            "best": {"machine": {"cpu": "one"}}})",
                        R"({"format": "rerankd-max-rate", "arrivals": "constant", "slo": {"p99_ms": 50},
                            "best": {"machine": {"cpu": "two"}}})"),
            "arrivals: poisson / constant\nslo.p99_ms: 100 / 50\nmachine.cpu: one / two\n");
  EXPECT_EQ(differences(R"({"machine": {"CPU": "one", "Command": "a", "Load average": "1"}, "peak": 3})",
                        R"({"machine": {"CPU": "two", "Command": "b", "Load average": "2"}, "peak": 4})"),
            "machine.CPU: one / two\n");
}

TEST(CompareReport, OtherConditionsAreAWarningEverywhere) {
  ExperimentRecord other = Recorded();
  other.runs[0].model_sha256 = "<m2>";
  const auto a = ResultOf(Recorded()), b = ResultOf(other);
  ResultComparison comparison{"a", "b", Compare(a.measures, b.measures), {}, DifferencesOf(a, b)};
  EXPECT_THAT(ComparisonTable(comparison),
              AllOf(HasSubstr("WARNING: A and B were not measured under the same conditions"),
                    HasSubstr("  model files\n    A: sha256 m1\n    B: sha256 <m2>\n")));
  EXPECT_THAT(ComparisonHtml(comparison),
              AllOf(HasSubstr("Warning: other conditions"),
                    HasSubstr("<td>model files</td><td>sha256 m1</td><td>sha256 &lt;m2&gt;</td>")));
  EXPECT_THAT(ComparisonJson(comparison), HasSubstr("\"name\": \"model files\""));
  comparison.differences.clear();
  EXPECT_THAT(ComparisonTable(comparison), Not(HasSubstr("WARNING")));
  EXPECT_THAT(ComparisonHtml(comparison), Not(HasSubstr("Warning")));
}

}  // namespace
}  // namespace rerankd::experiment
