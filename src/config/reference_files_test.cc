// Files written for the reference system run unchanged: one test for each way in which they are written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "config/load.h"

namespace rerankd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ReferenceFiles : public ::testing::Test {
 protected:
  ExperimentPlan Load(const std::string& text) {
    const std::string path = folder_.Write("file.yaml", text);
    auto plan = LoadExperiment({path, {}, {}, false});
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    if (plan.ok()) return *plan;
    ExperimentPlan nothing;
    nothing.variants.emplace_back();
    return nothing;
  }
  Settings First(const std::string& text) { return Load(text).variants.front().settings; }

  testing::TemporaryFolder folder_;
};

TEST_F(ReferenceFiles, NestedKeys) {
  const Settings settings = First(
      "model_pool:\n  instances:\n    - name: m\n      device: mps\n      backend: mps\n      max_length: "
      "175\n"
      "experiment:\n  batch_sizes: [96]\n");
  EXPECT_EQ(settings.instances.front().max_length, 175);
  EXPECT_THAT(settings.experiment.batch_sizes, ElementsAre(96));
}

TEST_F(ReferenceFiles, MisspeltKeysMeanWhatWasMeant) {
  const ExperimentPlan plan = Load("batching: {length_aware_batching: true}\nserver: {port: 50055}\n");
  EXPECT_TRUE(plan.variants.front().settings.batching.length_aware);
  EXPECT_EQ(plan.variants.front().settings.server.grpc_port, 50055);
  EXPECT_THAT(plan.warnings, ElementsAre(HasSubstr("did not read"), HasSubstr("did not read")));
}

TEST_F(ReferenceFiles, ListsOfDefaultsAreAcceptedWithAWarning) {
  const ExperimentPlan plan = Load(
      "defaults:\n  - _self_\n  - override /model_pool: default\n  - batching: default\nname: composed\n");
  EXPECT_EQ(plan.variants.front().settings.name, "composed");
  EXPECT_THAT(plan.warnings, Contains(HasSubstr("defaults has no effect")));
}

TEST_F(ReferenceFiles, AComposedFileThatRunsWithAnotherMaxLengthSaysBothLengths) {
  const std::string composed = "defaults:\n  - _self_\n  - override /model_pool: default\n";
  const auto both = AllOf(HasSubstr("max_length of 200"), HasSubstr("here it is 512"));
  EXPECT_THAT(Load(composed).warnings, ElementsAre(HasSubstr("defaults has no effect"), both));
  EXPECT_THAT(Load("defaults: [model_pool]\n").warnings, Contains(both));
  folder_.Write("base_config.yaml", "model: {max_length: 512}\n");
  EXPECT_THAT(Load(composed).warnings, Contains(both)) << "a base file stands below the groups";
  EXPECT_THAT(Load(composed + "model: {max_length: 200}\n").warnings, SizeIs(1));
  EXPECT_THAT(Load(composed + "model_pool: {instances: [{name: a, max_length: 512}]}\n").warnings, SizeIs(1))
      << "what the file itself says stands above its groups";
  EXPECT_THAT(Load("defaults:\n  - batching: default\n").warnings, SizeIs(1));
}

TEST_F(ReferenceFiles, ListsInScalarKeysAreSwept) {
  const ExperimentPlan plan = Load(
      "model_pool:\n  instances:\n    - {backend: [mps, mlx], quantization: fp16}\n"
      "batching: {enabled: true, max_batch_size: [32, 64], timeout_ms: 50}\n");
  ASSERT_EQ(plan.variants.size(), 4u);
  EXPECT_EQ(plan.variants[1].label, "_mps_batch64");
  EXPECT_EQ(plan.variants[2].settings.instances.front().backend, "mlx");
}

TEST_F(ReferenceFiles, UseFp16) {
  EXPECT_EQ(First("model: {backend: mps, use_fp16: true}\n").instances.front().precision, "fp16");
  EXPECT_EQ(First("model: {backend: mps, use_fp16: false}\n").instances.front().precision, "fp32");
}

TEST_F(ReferenceFiles, Bits) {
  EXPECT_EQ(First("model: {backend: mlx, mlx: {bits: 8}}\n").instances.front().precision, "int8");
  EXPECT_EQ(First("model: {backend: mlx, mlx: {bits: 4, group_size: 128}}\n").instances.front().group_size,
            128);
}

TEST_F(ReferenceFiles, CompileMode) {
  EXPECT_EQ(First("model: {backend: compiled, compile_mode: max-autotune}\n").instances.front().compile_mode,
            "max-autotune");
  EXPECT_EQ(
      First("model: {backend: compiled, compiled: {mode: reduce-overhead}}\n").instances.front().compile_mode,
      "reduce-overhead");
}

TEST_F(ReferenceFiles, PipelineModes) {
  for (const char* mode : {"full", "tokenization_only", "inference_only"})
    EXPECT_EQ(First(std::string("pipeline: {enabled: true, mode: ") + mode + "}\n").pipeline_mode, mode);
}

TEST_F(ReferenceFiles, Prefill) {
  EXPECT_EQ(First("experiment: {prefill_requests: 128}\n").experiment.prefill_requests, 128);
}

TEST_F(ReferenceFiles, LoadByTimeInsteadOfCount) {
  const Settings settings = First("experiment: {benchmark_duration_s: 60, dataset_size: 20000}\n");
  EXPECT_EQ(settings.experiment.benchmark_duration_s, 60.0);
  EXPECT_EQ(settings.experiment.dataset_size, 20000);
}

TEST_F(ReferenceFiles, TokenizerPools) {
  const Settings settings = First(
      "tokenizer_pool: {enabled: true, num_workers: 4, model_name: \"\", tokenizers_parallelism: true}\n");
  EXPECT_EQ(settings.tokenizer_pool.num_workers, 4);
  EXPECT_TRUE(settings.tokenizer_pool.tokenizers_parallelism);
}

TEST_F(ReferenceFiles, Screenshots) {
  EXPECT_THAT(Load("screenshot: {enabled: false}\n").warnings, IsEmpty());
  EXPECT_THAT(Load("screenshot: {enabled: true}\n").warnings,
              ElementsAre(HasSubstr("reports need no screenshots")));
}

}  // namespace
}  // namespace rerankd
