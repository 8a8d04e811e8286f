#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/temporary_folder.h"
#include "kernels/dispatch.h"
#include "kernels/peak.h"
#include "model/bert_cost.h"
#include "model/random_bert.h"
#include "perf/child.h"
#include "perf/compare.h"
#include "perf/stages.h"
#include "perf/statistics.h"
#include "perf/workload.h"
#include "tokenizer/tokenizer.h"

namespace rerankd::perf {
namespace {

using ::rerankd::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(BertCost, IsTheFormulaOfMiniLm) {
  for (const double n : {1.0, 28.0, 95.3, 512.0}) {
    const double operations = 18.284544e6 * n + 7680 * n * n + 2.949120e6 + 1536 * n;
    EXPECT_NEAR(PairMultiplyAdds(MiniLmConfig(), n) * 2, operations, 1e-9 * operations) << n;
  }
}

TEST(BertCost, OneLayerComputesKeysAndValuesForAllAndTheRestForCls) {
  ModelConfig config;
  config.num_layers = 1;
  config.hidden_size = 2;
  config.intermediate_size = 3;
  // keys, values: 10 x 2 x 4; query and output: 2 x 4; feed-forward: 2 x 6; scores and values: 2 x 10 x 2.
  EXPECT_EQ(PairMultiplyAdds(config, 10), 80 + 8 + 12 + 40);
}

TEST(Statistics, MedianOfOddEvenAndNone) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
}

TEST(Statistics, BootstrapEnclosesTheMedianAndRepeats) {
  const std::vector<double> values = {1.0, 1.1, 0.9, 1.3, 1.05, 0.95, 1.2};
  const Interval interval = BootstrapMedian(values);
  EXPECT_EQ(interval.median, 1.05);
  EXPECT_LT(interval.low, interval.median);
  EXPECT_GT(interval.high, interval.median);
  EXPECT_GE(interval.low, 0.9);
  EXPECT_LE(interval.high, 1.3);
  EXPECT_EQ(BootstrapMedian(values).low, interval.low);
  EXPECT_EQ(BootstrapMedian({2, 2, 2}).low, 2);
}

TEST(Statistics, ColumnsAlign) {
  EXPECT_EQ(AlignColumns({{"a", "b"}, {"long", "1"}, {"c", "100"}}, 1),
            "  a       b\n  long    1\n  c     100\n");
}

// One word a token, as many special tokens as BERT has; knows only words of one or two letters.
class WordTokenizer final : public Tokenizer {
 public:
  int vocab_size() const override { return 100; }
  int pair_overhead() const override { return 3; }
  void EncodeText(std::string_view text, bool, std::vector<int32_t>* ids) const override {
    ids->assign(text.size() <= 2 ? 1 : 2, 7);
  }
  Status AppendEncoded(std::span<const int32_t>, std::span<const int32_t>, const PairOptions&,
                       EncodedPairs*) const override {
    return Internal("not used");
  }
  Result<std::vector<DisplayToken>> Explain(std::string_view, std::string_view,
                                            const PairOptions&) const override {
    return Internal("not used");
  }
};

int64_t Words(const std::string& text) { return 1 + std::count(text.begin(), text.end(), ' '); }

TEST(Workload, PairsOfFixedLength) {
  for (const int tokens : {5, 16, 512}) {
    const auto workload = FixedLengthWorkload(WordTokenizer(), tokens, 250);
    ASSERT_TRUE(workload.ok());
    EXPECT_EQ(workload->name, std::to_string(tokens));
    EXPECT_EQ(workload->pairs(), 250);
    ASSERT_EQ(workload->requests.size(), 3u);
    for (const ScoreRequest& request : workload->requests) {
      ASSERT_EQ(request.queries.size(), 1u);
      for (const Document& document : request.documents) {
        ASSERT_EQ(Words(request.queries[0]) + Words(document.text) + 3, tokens);
      }
    }
  }
  const auto too_short = FixedLengthWorkload(WordTokenizer(), 4, 1);
  EXPECT_EQ(too_short.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(too_short.status().message(), HasSubstr("at least 5"));
}

TEST(Workload, TextIsCutIntoRequestsInOrder) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < 101; ++i) pairs.emplace_back("q", std::to_string(i));
  const Workload workload = TextWorkload(std::move(pairs));
  ASSERT_EQ(workload.requests.size(), 2u);
  EXPECT_EQ(workload.requests[0].documents.size(), kDocumentsPerRequest);
  EXPECT_EQ(workload.requests[1].documents[0].text, "100");
}

TEST(Peak, EveryKernelSetReachesSomething) {
  for (const KernelSet* kernels : BuiltKernelSets()) {
    if (!Runs(*kernels)) continue;
    EXPECT_GT(MeasurePeak(*kernels, "fp32", 1), 1e6) << kernels->name;
    EXPECT_GT(MeasurePeak(*kernels, "int8", 1), 1e6) << kernels->name;
    EXPECT_EQ(MeasurePeak(*kernels, "bf16", 1) > 1e6, kernels->bf16_gemm != nullptr) << kernels->name;
    EXPECT_EQ(MeasurePeak(*kernels, "int3", 1), 0) << kernels->name;
  }
}

TEST(Stages, EveryStageHasItsTimeAndProductsTheirShare) {
  const std::string folder = RERANKD_SOURCE_DIR "/models/tiny";
  const auto tokenizer = LoadTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  const auto workload = FixedLengthWorkload(**tokenizer, 20, 30);
  ASSERT_TRUE(workload.ok()) << workload.status().ToString();
  for (const Precision precision : {Precision::kFp32, Precision::kInt8}) {
    StageOptions options;
    options.directory = folder;
    options.tokenizer = tokenizer->get();
    options.precision = precision;
    options.rounds = 3;
    const auto profile = ProfileStages(options, *workload);
    ASSERT_TRUE(profile.ok()) << profile.status().ToString();
    EXPECT_EQ(profile->precision, PrecisionName(precision));
    EXPECT_EQ(profile->pairs, 30);
    EXPECT_EQ(profile->tokens, 600);
    std::vector<std::string> with_products;
    for (const StageTime& stage : profile->stages) {
      EXPECT_EQ(stage.us_per_token.size(), 3u) << stage.stage;
      EXPECT_GT(Median(stage.us_per_token), 0) << stage.stage;
      if (!stage.share_of_peak.empty()) with_products.push_back(stage.stage);
    }
    EXPECT_THAT(with_products,
                ElementsAre("query, key, value", "attention", "attention output", "intermediate", "output"));
    EXPECT_EQ(profile->stages.size(), precision == Precision::kInt8 ? 10u : 9u) << "tokens and the encoder";
  }
}

TEST(Child, GivesOutputOrTheReason) {
  const auto output = RunProgram({"sh", "-c", "echo out; echo err >&2"});
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(*output, "out\n");
  const auto failed = RunProgram({"sh", "-c", "echo why >&2; exit 3"});
  EXPECT_EQ(failed.status().code(), Code::kInternal);
  EXPECT_THAT(failed.status().message(), HasSubstr("exit code 3: why"));
  EXPECT_EQ(RunProgram({"/no/such/program"}).status().code(), Code::kNotFound);
}

// A program that answers `bench … --json` with those rows and notes how it was called.
std::string FakeBinary(const TemporaryFolder& folder, const std::string& name, const std::string& rows) {
  const std::string script = "#!/bin/sh\necho \"$@\" >> $0.calls\necho '{\"end_to_end\": [" + rows + "]}'\n";
  const std::string path = folder.Write(name, script);
  chmod(path.c_str(), 0755);
  return path;
}

std::string Row(const std::string& workload, double speed) {
  return R"({"workload": ")" + workload + R"(", "precision": "fp32", "threads": 2, "pairs_per_s": )" +
         std::to_string(speed) + "}";
}

TEST(Compare, TakesTurnsAndComparesWhatBothHave) {
  const TemporaryFolder folder;
  CompareOptions options;
  options.new_binary = FakeBinary(folder, "new", Row("text", 30) + "," + Row("16", 5));
  options.old_binary = FakeBinary(folder, "old", Row("text", 20));
  options.arguments = {"--only=text"};
  options.rounds = 3;
  options.progress = false;
  const auto comparisons = Compare(options);
  ASSERT_TRUE(comparisons.ok()) << comparisons.status().message();
  ASSERT_EQ(comparisons->size(), 1u);
  EXPECT_THAT((*comparisons)[0].ratios(), ElementsAre(1.5, 1.5, 1.5));
  const auto calls = ReadFile(options.old_binary + ".calls");
  ASSERT_TRUE(calls.ok());
  const std::string call = "bench --only=text --rounds 1 --json --quiet\n";
  EXPECT_EQ(*calls, call + call + call);

  const auto json = ToJson(*comparisons, options, {{"CPU", "x"}});
  EXPECT_EQ(json["comparisons"][0]["ratio"]["median"], 1.5);
  EXPECT_EQ(json["comparisons"][0]["a"]["median"], 30);
  EXPECT_EQ(json["comparisons"][0]["rounds"].size(), 3u);
  EXPECT_THAT(ToTable(*comparisons, options, {}), HasSubstr("1.500 to 1.500"));
}

TEST(Compare, RefusesWhatItCannotCompare) {
  const TemporaryFolder folder;
  CompareOptions options;
  options.new_binary = FakeBinary(folder, "new", Row("text", 30));
  options.old_binary = FakeBinary(folder, "old", Row("64", 20));
  options.progress = false;
  EXPECT_EQ(Compare(options).status().code(), Code::kFailedPrecondition);
  options.old_binary = "/bin/true";
  EXPECT_THAT(Compare(options).status().message(), HasSubstr("not a report of rerankd bench"));
  options.old_binary = FakeBinary(folder, "stopped", Row("text", 0));
  EXPECT_THAT(Compare(options).status().message(), HasSubstr("a speed of 0"));
}

}  // namespace
}  // namespace rerankd::perf
