#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "config/load.h"
#include "config/setting_table.h"
#include "config/wanted_target.h"

namespace rerankd {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
namespace fs = std::filesystem;

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  SettingsSource File(const std::string& text) { return {Write("file.yaml", text), {}, {}, false}; }

  Settings Load(const SettingsSource& source) {
    auto loaded = LoadSettings(source);
    EXPECT_TRUE(loaded.ok()) << loaded.status().ToString();
    return loaded.ok() ? loaded->settings : Settings();
  }
  std::vector<std::string> Warnings(const std::string& text) {
    auto loaded = LoadSettings(File(text));
    EXPECT_TRUE(loaded.ok()) << loaded.status().ToString();
    return loaded.ok() ? loaded->warnings : std::vector<std::string>{};
  }
  std::string Error(const std::string& text) { return ErrorOf(File(text)); }
  std::string ErrorOf(const SettingsSource& source) { return LoadSettings(source).status().message(); }
  std::string Precision(const std::string& text) { return Load(File(text)).instances.front().precision; }

  const fs::path folder_ = fs::path(testing::TempDir()) / ("rerankd_config_" + std::to_string(::getpid()));
};

TEST_F(ConfigTest, EveryRowHasWorkingBoundsAndADefaultInsideThem) {
  for (const SettingRow& row : SettingTable()) {
    Settings settings;
    const SettingField field = row.field(settings, settings.instances.front());
    const std::string before = FormatSetting(field);
    if (before != "null" && before != "\"\"") {
      auto value = ParseConfigValue(before, "test");
      ASSERT_TRUE(value.ok());
      EXPECT_TRUE(ParseSetting(row, *value, field).ok()) << row.key;
      EXPECT_EQ(FormatSetting(field), before) << row.key;
    }
    if (!row.type_name().ends_with("text")) {
      EXPECT_FALSE(ParseSetting(row, {{"many"}, false, "test"}, field).ok()) << row.key;
    }
    EXPECT_FALSE(row.help.empty()) << row.key;
  }
}

TEST_F(ConfigTest, ListsOfTextComeFromFilesAndFromCommas) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(Load(File("server: {cors: [\"https://a.example\", \"https://b.example\"]}\n")).server.cors,
            (Texts{"https://a.example", "https://b.example"}));
  SettingsSource source = File("server: {cors: [\"https://a.example\"]}\n");
  source.overrides = {"server.cors=https://b.example,*"};
  EXPECT_EQ(Load(source).server.cors, (Texts{"https://b.example", "*"}));
  source.overrides = {"server.cors="};
  EXPECT_EQ(Load(source).server.cors, Texts{});
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFileBeatsBaseBeatsDefault) {
  Write("base_config.yaml",
        "batching: {max_batch_size: 2, timeout_ms: 2, length_aware: true, enabled: true}\n");
  SettingsSource source = File("batching: {max_batch_size: 3, timeout_ms: 3, length_aware: false}\n");
  source.environment = {{"RERANKD_BATCHING__MAX_BATCH_SIZE", "4"}, {"RERANKD_BATCHING__TIMEOUT_MS", "4"}};
  source.overrides = {"batching.max_batch_size=9", "batching.max_batch_size=5"};
  const Settings settings = Load(source);
  EXPECT_EQ(settings.batching.max_batch_size, 5);
  EXPECT_EQ(settings.batching.timeout_ms, 4);
  EXPECT_FALSE(settings.batching.length_aware);
  EXPECT_TRUE(settings.batching.enabled);
  EXPECT_EQ(settings.server.grpc_port, 50051);
}

TEST_F(ConfigTest, BaseFileMergesMapsDeepAndReplacesListsWhole) {
  Write("base_config.yaml",
        "model: {name: m, max_length: 100}\nexperiment: {batch_sizes: [1, 2, 3], benchmark_requests: 7}\n");
  const Settings settings = Load(File("model: {max_length: 200}\nexperiment: {batch_sizes: [9]}\n"));
  EXPECT_EQ(settings.instances.front().model, "m");
  EXPECT_EQ(settings.instances.front().max_length, 200);
  EXPECT_THAT(settings.experiment.batch_sizes, ElementsAre(9));
  EXPECT_EQ(settings.experiment.benchmark_requests, 7);
}

TEST_F(ConfigTest, ErrorsNamePlaceKeyValueAndBounds) {
  EXPECT_THAT(
      Error("server:\n  grpc_port: 70000\n"),
      AllOf(HasSubstr("file.yaml:2"), HasSubstr("server.grpc_port"), HasSubstr("70000"), HasSubstr("65535")));
  EXPECT_THAT(Error("batching: {enabled: maybe}\n"), HasSubstr("true or false"));
  EXPECT_THAT(Error("batching: {max_batch_size: 1.5}\n"), HasSubstr("1.5"));
  EXPECT_THAT(Error("batching: {timeout_ms: nan}\n"), HasSubstr("nan"));
  EXPECT_THAT(Error("model: {backend: nativ}\n"), HasSubstr("did you mean 'native'"));
  EXPECT_THAT(Error("experiment: {batch_sizes: []}\n"), HasSubstr("empty"));
  EXPECT_THAT(Error("experiment: {batch_sizes: [1, x]}\n"), HasSubstr("'x'"));
  EXPECT_THAT(Error("batching: 5\n"), HasSubstr("section"));
  EXPECT_THAT(Error("server: {grpc_port: 80, http_port: 80}\n"), HasSubstr("both 80"));
}

TEST_F(ConfigTest, UnknownKeysAreErrorsWithTheNearestName) {
  EXPECT_THAT(Error("batching:\n  max_bach_size: 4\n"),
              AllOf(HasSubstr("file.yaml:2"), HasSubstr("'batching.max_bach_size'"),
                    HasSubstr("did you mean 'batching.max_batch_size'")));
  EXPECT_THAT(Error("model_pool: {instances: [{nam: x}]}\n"), HasSubstr("did you mean 'model.name'"));
  EXPECT_THAT(ErrorOf({"", {"batching.enabld=true"}, {}, false}),
              HasSubstr("did you mean 'batching.enabled'"));
  EXPECT_THAT(ErrorOf({"", {}, {{"RERANKD_BATCHING__ENABLD", "1"}}, false}),
              HasSubstr("RERANKD_BATCHING__ENABLED"));
  SettingsSource tolerant = File("batching: {max_bach_size: 4}\n");
  tolerant.allow_unknown_keys = true;
  auto loaded = LoadSettings(tolerant);
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("ignored")));
}

TEST_F(ConfigTest, BrokenYamlIsAnErrorWithItsLine) {
  EXPECT_THAT(Error("a: [1, 2\nb: 3\n"), HasSubstr("not valid YAML"));
  EXPECT_THAT(Error("batching: {enabled: true}\nbatching: {enabled: false}\n"),
              AllOf(HasSubstr(":2"), HasSubstr("twice")));
  EXPECT_THAT(Error("just text\n"), HasSubstr("key: value"));
  EXPECT_THAT(Error("model_pool: {instances: [{name: a}, 5]}\n"), HasSubstr("mixes"));
  EXPECT_THAT(Error("model_pool: {instances: [{name: a}, {}]}\n"), HasSubstr("entry 1"));
  EXPECT_EQ(LoadSettings({"/nowhere/x.yaml", {}, {}, false}).status().code(), Code::kNotFound);
  EXPECT_THAT(ErrorOf({"", {"novalue"}, {}, false}), HasSubstr("key=value"));
}

TEST_F(ConfigTest, InstancesWinOverModelsAndTakeTheRestFromModel) {
  const Settings settings =
      Load(File("model: {name: base, max_length: 64, precision: int8}\n"
                "models: [{name: ignored}]\n"
                "model_pool: {instances: [{threads: 2}, {name: other, use_fp16: false}], routing_strategy: "
                "first_idle}\n"));
  ASSERT_EQ(settings.instances.size(), 2u);
  EXPECT_EQ(settings.instances[0].model, "base");
  EXPECT_EQ(settings.instances[0].threads, 2);
  EXPECT_EQ(settings.instances[0].precision, "int8");
  EXPECT_EQ(settings.instances[1].model, "other");
  EXPECT_EQ(settings.instances[1].max_length, 64);
  EXPECT_EQ(settings.instances[1].precision, "fp32");
  EXPECT_EQ(Load(File("models: [{name: a}, {name: b}, {name: c}]\n")).instances.size(), 3u);
}

TEST_F(ConfigTest, AnOverrideOfModelReachesEveryInstance) {
  SettingsSource source = File(
      "model_pool: {instances: [{backend: mps, device: mps, quantization: fp16}, {backend: mlx, device: "
      "mps}]}\n");
  source.overrides = {"model.backend=native", "model.precision=fp32", "model_pool.instances[1].threads=3"};
  const Settings settings = Load(source);
  for (const InstanceSettings& instance : settings.instances) {
    EXPECT_EQ(instance.backend, "native");
    EXPECT_EQ(instance.device, "cpu");
    EXPECT_EQ(instance.precision, "fp32");
  }
  EXPECT_EQ(settings.instances[0].threads, 0);
  EXPECT_EQ(settings.instances[1].threads, 3);
  source.overrides = {"model_pool.instances[2].threads=3"};
  EXPECT_THAT(ErrorOf(source), HasSubstr("only 2 instances"));
}

TEST_F(ConfigTest, OlderPrecisionKeysKeepTheirIntent) {
  EXPECT_EQ(Precision("name: x\n"), "auto");
  EXPECT_EQ(Precision("model: {quantization: int8}\n"), "int8");
  EXPECT_EQ(Precision("model: {use_fp16: false}\n"), "fp32");
  EXPECT_EQ(Precision("model: {quantization: int8, use_fp16: true}\n"), "int8");
  EXPECT_EQ(Precision("model: {quantized: true}\n"), "fp16");
  EXPECT_EQ(Precision("model: {quantized: true, quantization_mode: int8}\n"), "int8");
  EXPECT_EQ(Precision("model: {backend: mlx, mlx: {bits: 8, group_size: 64}}\n"), "int8");
  EXPECT_EQ(
      Precision("model: {backend: mps, quantized: false, quantization_mode: fp16, mps: {fp16: false}}\n"),
      "fp32");
  EXPECT_EQ(Precision("model: {backend: native, mps: {fp16: true}}\n"), "auto");
  EXPECT_EQ(Precision("model: {precision: int8, quantization: int8}\n"), "int8");
  EXPECT_THAT(Error("model: {precision: int8, quantization: fp32}\n"), HasSubstr("remove one"));
  EXPECT_THAT(Error("model: {quantization: int4}\n"), HasSubstr("int4"));
  EXPECT_THAT(Error("model: {backend: mlx, mlx: {bits: 5}}\n"), HasSubstr("4, 8, 16 or 32"));
  EXPECT_THAT(Error("model: {backend: mlx, group_size: 48}\n"), HasSubstr("32, 64 or 128"));
}

TEST_F(ConfigTest, AFilesPrecisionReplacesThatOfTheBaseFile) {
  Write("base_config.yaml", "model: {quantized: false, quantization_mode: fp16, mps: {fp16: true}}\n");
  EXPECT_EQ(Precision("model: {precision: int8}\n"), "int8");
  EXPECT_EQ(Precision("model: {backend: mps, mps: {fp16: false}}\n"), "fp32");
}

TEST_F(ConfigTest, WarnsWhereWordingAndEffectDiffer) {
  EXPECT_THAT(Warnings("batching: {length_aware_batching: true}\n"),
              ElementsAre(AllOf(HasSubstr("batching.length_aware"), HasSubstr("did not read"))));
  EXPECT_THAT(Warnings("model: {device: mps, quantization: fp16}\n"),
              ElementsAre(HasSubstr("bf16"), HasSubstr("not on 'mps'")));
  EXPECT_THAT(Warnings("batching: {sequence_packing: true}\n"), ElementsAre(HasSubstr("no effect")));
  EXPECT_THAT(Warnings("model: {compile_mode: max-autotune}\n"), ElementsAre(HasSubstr("no effect")));
  EXPECT_THAT(Warnings("model: {mlx: {group_size: 32}}\n"), ElementsAre(HasSubstr("only 'mlx' reads it")));
  EXPECT_THAT(Warnings("model: {mlx: {group_size: 64}}\n"), IsEmpty());
  EXPECT_THAT(Warnings("batching: {sequence_packing: false}\nscreenshot: {enabled: false}\n"
                       "tokenizer_pool: {enabled: true}\n"),
              IsEmpty());
  EXPECT_THAT(Warnings("pipeline: {enabled: false}\n"), ElementsAre(HasSubstr("no effect")));
  EXPECT_TRUE(Load(File("scheduler: {enable_length_aware_batching: true}\n")).batching.length_aware);
  EXPECT_EQ(Load(File("server: {port: 1234}\n")).server.grpc_port, 1234);
}

TEST_F(ConfigTest, ReadsACompleteFileOfTheReferenceSystem) {
  const std::string text =
      "defaults:\n  - _self_\n  - override /model_pool: default\n  - server: default\n"
      "name: old\ndescription: \"old file\"\n"
      "model:\n  name: cross-encoder/ms-marco-MiniLM-L-6-v2\n  device: mps\n  backend: mps\n  max_length: "
      "256\n"
      "  quantized: false\n  quantization_mode: fp16\n  compile_model: true\n"
      "  mps: {fp16: true, compile: false}\n  mlx: {bits: 16, group_size: 64}\n"
      "  onnx: {optimize: true, use_gpu: true}\n  compiled: {mode: reduce-overhead, fp16: true}\n"
      "server: {host: 127.0.0.1, port: 50052, grpc_workers: 12}\n"
      "tokenizer_pool: {enabled: true, num_workers: 2, model_name: '', tokenizers_parallelism: true}\n"
      "pipeline: {enabled: true, mode: full}\n"
      "scheduler: {enable_length_aware_batching: false, enable_stage_timing: true}\n"
      "screenshot: {enabled: false, output_dir: docs/shots}\nprometheus_url: http://localhost:9091\n"
      "benchmark: {batch_size: 32, num_requests: 50, concurrency: 4, warmup_iterations: 10}\n";
  const Settings settings = Load(File(text));
  EXPECT_EQ(settings.instances.front().max_length, 256);
  EXPECT_EQ(settings.instances.front().precision, "fp16");
  EXPECT_EQ(settings.instances.front().compile_mode, "reduce-overhead");
  EXPECT_EQ(settings.server.grpc_port, 50052);
  EXPECT_EQ(settings.tokenizer_pool.num_workers, 2);
  EXPECT_THAT(settings.experiment.batch_sizes, ElementsAre(32));
  EXPECT_THAT(settings.experiment.concurrency_levels, ElementsAre(4));
  EXPECT_EQ(settings.experiment.benchmark_requests, 50);
  EXPECT_EQ(settings.experiment.warmup_iterations, 10);
}

TEST_F(ConfigTest, ListsInScalarKeysAreSweptWithTheLastKeyFastest) {
  auto plan =
      LoadExperiment(File("model: {backend: [mps, mlx], quantization_mode: [fp32, int8]}\n"
                          "batching: {timeout_ms: [5]}\nexperiment: {batch_sizes: [1, 2]}\n"));
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  std::vector<std::string> labels;
  for (const PlanVariant& variant : plan->variants) labels.push_back(variant.label);
  EXPECT_THAT(labels, ElementsAre("_mps_fp32_5ms", "_mps_int8_5ms", "_mlx_fp32_5ms", "_mlx_int8_5ms"));
  EXPECT_EQ(plan->variants[2].settings.instances.front().backend, "mlx");
  EXPECT_EQ(plan->variants[3].settings.instances.front().precision, "int8");
  EXPECT_THAT(plan->variants[3].settings.experiment.batch_sizes, ElementsAre(1, 2));
  EXPECT_EQ(plan->stem, "file");
}

TEST_F(ConfigTest, InstanceKeysAreSweptTooAndModesAreAbbreviated) {
  auto plan =
      LoadExperiment(File("model_pool: {instances: [{backend: compiled, compile_mode: [default, "
                          "reduce-overhead, max-autotune]}]}\n"
                          "batching: {max_batch_size: [32, 64]}\nscheduler: {batch_tokens: [128]}\n"));
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  ASSERT_EQ(plan->variants.size(), 6u);
  EXPECT_EQ(plan->variants[0].label, "_def_batch32_batch_tokens=128");
  EXPECT_EQ(plan->variants[5].label, "_ma_batch64_batch_tokens=128");
  EXPECT_EQ(plan->variants[2].settings.instances[0].compile_mode, "reduce-overhead");
}

TEST_F(ConfigTest, ExperimentsWaitInTheQueueUnlessTheyAskToBeRefused) {
  EXPECT_EQ(LoadExperiment(File("name: x\n"))->variants[0].settings.scheduler.max_queue_ms, 60000);
  EXPECT_EQ(
      LoadExperiment(File("scheduler: {max_queue_ms: 5}\n"))->variants[0].settings.scheduler.max_queue_ms, 5);
  EXPECT_EQ(Load(File("name: x\n")).scheduler.max_queue_ms, 30000);
}

TEST_F(ConfigTest, ExperimentsScoreEveryPairUnlessTheyAskForEqualOnesToBeMerged) {
  EXPECT_FALSE(LoadExperiment(File("name: x\n"))->variants[0].settings.documents.merge_equal);
  EXPECT_TRUE(
      LoadExperiment(File("documents: {merge_equal: true}\n"))->variants[0].settings.documents.merge_equal);
}

TEST_F(ConfigTest, OpenLoopsNeedRatesAndClosedOnesHaveNone) {
  const auto plan = LoadExperiment(File("experiment: {load: open, rates: [12.5, 80%]}\n"));
  EXPECT_THAT(plan->variants[0].settings.experiment.rates, ElementsAre("12.5", "80%"));
  EXPECT_THAT(Error("experiment: {load: open}\n"), HasSubstr("give experiment.rates"));
  EXPECT_THAT(Error("experiment: {rates: [5]}\n"), HasSubstr("set experiment.load to open"));
  for (const char* wrong : {"fast", "0", "-3", "80%%", "nan", "5 %", "1e300"})
    EXPECT_THAT(Error(std::string("experiment: {load: open, rates: [\"") + wrong + "\"]}\n"),
                HasSubstr("is not a rate above 0"))
        << wrong;
}

TEST_F(ConfigTest, TargetsAreServersThatRunAlready) {
  const auto plan =
      LoadExperiment(File("experiment: {targets: [\"tei http://h:80 m\", rerankd h:50051], api_key_file: "
                          "key, ca_file: ca, seed: [1, 2]}\n"));
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  ASSERT_THAT(plan->variants, SizeIs(2)) << "keys of the load may be swept";
  const ExperimentSettings& experiment = plan->variants[0].settings.experiment;
  EXPECT_THAT(experiment.targets, ElementsAre("tei http://h:80 m", "rerankd h:50051"));
  EXPECT_EQ(experiment.api_key_file, (folder_ / "key").string());
  EXPECT_EQ(experiment.ca_file, (folder_ / "ca").string());
  EXPECT_EQ(ParseTarget(experiment.targets[0])->url, "http://h:80");
  EXPECT_EQ(ParseTarget(experiment.targets[0])->model, "m");
  EXPECT_EQ(ParseTarget(experiment.targets[1])->protocol, "rerankd");
  for (const char* wrong : {"tei", "tei  http://h", "tei http://h m x", " "})
    EXPECT_THAT(Error(std::string("experiment: {targets: [\"") + wrong + "\"]}\n"), HasSubstr("PROTOCOL URL"))
        << wrong;
  EXPECT_THAT(Error("experiment: {targets: [tei http://h, tei http://h]}\n"), HasSubstr("twice"));
  EXPECT_THAT(LoadExperiment(File("experiment: {targets: [tei http://h]}\nmodel: {threads: [1, 2]}\n"))
                  .status()
                  .message(),
              AllOf(HasSubstr("model.threads"), HasSubstr("running already")));
  EXPECT_THAT(DumpExperiment(plan->variants[0].settings),
              AllOf(HasSubstr("experiment:\n  batch_sizes"), testing::Not(HasSubstr("model"))));
}

TEST_F(ConfigTest, SweepsThatCannotRunAreErrors) {
  EXPECT_THAT(Error("batching: {timeout_ms: [5, 10]}\n"),
              AllOf(HasSubstr("batching.timeout_ms"), HasSubstr("one value")));
  EXPECT_THAT(LoadExperiment(File("batching: {timeout_ms: []}\n")).status().message(), HasSubstr("empty"));
  std::string many = "[0";
  for (int i = 1; i < 40; ++i) many += "," + std::to_string(i);
  EXPECT_THAT(LoadExperiment(
                  File("batching: {timeout_ms: " + many + "]}\nscheduler: {max_queue_ms: " + many + "]}\n"))
                  .status()
                  .message(),
              HasSubstr("1000 combinations"));
}

TEST_F(ConfigTest, ListKeysTakeSingleValuesAndCommas) {
  EXPECT_THAT(Load(File("experiment: {batch_sizes: 7}\n")).experiment.batch_sizes, ElementsAre(7));
  const Settings settings =
      Load({"", {"experiment.batch_sizes=1,2", "experiment.concurrency_levels=[3, 4]"}, {}, false});
  EXPECT_THAT(settings.experiment.batch_sizes, ElementsAre(1, 2));
  EXPECT_THAT(settings.experiment.concurrency_levels, ElementsAre(3, 4));
}

TEST_F(ConfigTest, TheDumpLoadsToTheSameSettings) {
  Settings settings =
      Load(File("name: 'a: \"b\" # c'\ndescription: \"true\"\n"
                "model_pool: {instances: [{name: x, threads: 2}, {backend: onnx, precision: int4}]}\n"
                "experiment: {benchmark_duration_s: 2.5, batch_sizes: [3, 4], dataset: d/x.tsv}\n"
                "server: {grpc_port: 0, prometheus_port: 9000}\n"));
  const std::string dump = DumpSettings(settings);
  const Settings again = Load({Write("dump.yaml", dump), {}, {}, false});
  EXPECT_EQ(DumpSettings(again), dump);
  EXPECT_EQ(again.name, "a: \"b\" # c");
  EXPECT_EQ(again.instances[1].precision, "int4");
}

TEST_F(ConfigTest, ADataSetIsRelativeToTheFileThatNamesIt) {
  EXPECT_EQ(Load(File("experiment: {dataset: sub/x.jsonl}\n")).experiment.dataset,
            (folder_ / "sub/x.jsonl").string());
  EXPECT_EQ(Load(File("experiment: {dataset: bundled}\n")).experiment.dataset, "bundled");
  EXPECT_EQ(Load({"", {"experiment.dataset=sub/x.jsonl"}, {}, false}).experiment.dataset, "sub/x.jsonl");
}

TEST(SettingsPage, IsTheOneInDocs) {
  auto page = ReadFile(std::string(RERANKD_SOURCE_DIR) + "/docs/settings.md");
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  EXPECT_EQ(*page, SettingsMarkdown()) << "write it anew: rerankd settings --markdown > docs/settings.md";
}

}  // namespace
}  // namespace rerankd
