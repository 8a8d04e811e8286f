// The catalogue: every file loads and expands to the grid that its experiment is defined by.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "config/load.h"

namespace rerankd::experiment {
namespace {

using testing::ElementsAreArray;
namespace fs = std::filesystem;

const std::string kFolder = std::string(RERANKD_SOURCE_DIR) + "/experiments";

struct Expected {
  const char* name;
  size_t variants;  // combinations of the swept keys, a fresh server each
  std::vector<int> batch_sizes, concurrency_levels;
  size_t instances;
  const char* backend;  // of the first combination
  int tokenizers;
};

const Expected kCatalogue[] = {
    {"01_backend_comparison", 4, {32}, {1}, 1, "pytorch", 1},
    {"01_backend_comparison_native", 1, {32}, {1}, 1, "native", 1},
    {"01_backend_pytorch", 1, {32}, {1}, 1, "pytorch", 1},
    {"02_backend_mps", 1, {32}, {1}, 1, "mps", 1},
    {"02_backend_native", 1, {32}, {1}, 1, "native", 1},
    {"02_batch_size_sweep", 1, {8, 16, 32, 48}, {1}, 1, "native", 1},
    {"03_backend_mlx", 1, {32}, {1}, 1, "mlx", 1},
    {"03a_concurrency_sweep", 1, {96}, {8, 16, 24, 48}, 1, "native", 1},
    {"03b_concurrency_sweep_tokeniser_2", 1, {96}, {1, 2, 4}, 1, "native", 2},
    {"03c_concurrency_sweep_tokeniser_4", 1, {96}, {1, 2, 4}, 1, "native", 4},
    {"03d_concurrency_sweep_tokeniser_2_batched", 1, {96}, {4, 8, 16, 24}, 1, "native", 2},
    {"04_backend_compiled", 1, {32}, {1}, 1, "compiled", 1},
    {"04_backend_compiled_native", 1, {32}, {1}, 1, "native", 1},
    {"04a_dynamic_batch_baseline", 1, {32}, {4}, 1, "native", 1},
    {"04b_dynamic_batch_enabled", 1, {32}, {4}, 1, "native", 1},
    {"05_dynamic_batch_timeout_sweep", 1, {32}, {4}, 1, "native", 1},
    {"05a_batch_size", 1, {8, 16, 32, 48, 64, 96, 128, 192, 256}, {1}, 1, "native", 1},
    {"05a_batch_size_mps", 1, {8, 16, 32, 48, 64, 96, 128, 192, 256}, {1}, 1, "mps", 1},
    {"05b_batch_size_mlx", 1, {8, 16, 32, 48, 64, 96, 128, 192, 256}, {1}, 1, "mlx", 1},
    {"06_dynamic_batch_max_batch_sweep", 10, {32}, {4}, 1, "mps", 1},
    {"06_dynamic_batch_max_batch_sweep_native", 5, {32}, {4}, 1, "native", 1},
    {"06a_concurrency", 1, {96}, {1, 2, 3, 4, 6, 8, 12}, 1, "native", 1},
    {"06a_concurrency_mps", 1, {96}, {1, 2, 3, 4, 6, 8, 12}, 1, "mps", 1},
    {"06b_concurrency_mlx", 1, {96}, {1, 2, 3, 4, 6, 8, 12}, 1, "mlx", 1},
    {"07_quantization_sweep", 3, {96}, {1}, 1, "native", 1},
    {"08_max_length_sweep", 2, {64}, {1}, 1, "mps", 1},
    {"08_max_length_sweep_native", 4, {64}, {1}, 1, "native", 1},
    {"08a_dynamic_batch", 1, {8, 16, 32, 64}, {2, 4, 8}, 1, "native", 1},
    {"08a_dynamic_batch_mps", 1, {8, 16, 32, 64}, {2, 4, 8}, 1, "mps", 1},
    {"08b_dynamic_batch_mlx", 1, {8, 16, 32, 64}, {2, 4, 8}, 1, "mlx", 1},
    {"09_compile_mode_sweep", 3, {64}, {1}, 1, "compiled", 1},
    {"09_compile_mode_sweep_native", 3, {64}, {1}, 1, "native", 1},
    {"09a_padding_baseline", 1, {32, 64, 96}, {1}, 1, "native", 1},
    {"09b_padding_length_aware", 1, {32, 64, 96}, {1}, 1, "native", 1},
    {"10_multi_model_pool", 1, {16, 32}, {2, 4}, 2, "native", 1},
    {"10a_padding_baseline", 1, {64}, {1}, 1, "native", 1},
    {"10b_debug_packing", 1, {4}, {1}, 1, "native", 1},
    {"10b_packing_enabled", 1, {32, 64, 96}, {1}, 1, "native", 1},
    {"10b_padding_length_aware", 1, {64}, {1}, 1, "native", 1},
    {"11_multi_model_replicas", 1, {32, 64, 128}, {4, 8, 12}, 3, "native", 1},
    {"11a_dynamic_batch_analysis_baseline", 1, {32}, {4}, 1, "native", 1},
    {"11b_dynamic_batch_analysis_enabled", 1, {32}, {4}, 1, "native", 1},
    {"11c_dynamic_batch_analysis_length_aware", 1, {32}, {4}, 1, "native", 1},
    {"11d_dynamic_batch_timeout_analysis", 1, {32}, {4}, 1, "native", 1},
    {"11e_dynamic_batch_high_concurrency", 1, {16}, {8}, 1, "native", 1},
    {"12_multi_model_pool", 1, {128}, {4}, 1, "native", 1},
    {"12_multi_model_smart_idle", 1, {64}, {8}, 2, "native", 1},
    {"13_tuning_process_pool", 1, {32}, {8}, 2, "native", 1},
    {"13a_multi_model_2x", 1, {32}, {4}, 2, "native", 1},
    {"13b_multi_model_3x", 1, {32}, {4}, 3, "native", 1},
    {"13c_multi_model_4x", 1, {32}, {4}, 4, "native", 1},
    {"14_multi_model_tokenizer_pool", 1, {16, 32}, {2, 4}, 2, "native", 4},
    {"14_optimized_production", 1, {32, 48, 64, 96}, {1}, 1, "native", 1},
    {"15_production_optimal", 1, {96}, {1, 2, 3, 4, 6, 8, 12}, 1, "native", 1},
    {"15a_multi_model_batching", 1, {64}, {8}, 1, "native", 1},
    {"15b_multi_model_batching_2_workers", 1, {64}, {32}, 1, "native", 2},
    {"16_multi_model_replicas", 1, {32, 64, 128}, {4, 8, 12}, 3, "native", 1},
    {"17_multi_model_smart_idle", 1, {64}, {8}, 2, "native", 1},
    {"18_queue_stress_test", 1, {256}, {16}, 1, "native", 1},
    {"19_tuning_process_pool", 1, {32}, {8}, 2, "native", 1},
    {"20a_pipeline_baseline", 1, {32, 64, 128}, {2}, 1, "native", 4},
    {"20b_no_pipeline_baseline", 1, {32}, {1}, 1, "native", 2},
    {"21_optimal_sweep", 3, {96}, {4}, 1, "mps", 1},
    {"21_optimal_sweep_native", 1, {96}, {4}, 1, "native", 1},
    {"22_production_optimal", 1, {96}, {1, 2, 3, 4, 6, 8, 12}, 1, "native", 1},
    {"23_optimized_production", 1, {32, 48, 64, 96}, {1}, 2, "native", 1},
    {"24_backend_mps_sweep", 4, {32, 64}, {8, 16}, 1, "mps", 1},
    {"24_backend_mps_sweep_native", 1, {32, 64}, {8, 16}, 1, "native", 1},
    {"24b_backend_cpu_baseline", 2, {32, 64}, {8, 16}, 1, "pytorch", 1},
    {"24b_backend_cpu_baseline_native", 2, {32, 64}, {8, 16}, 1, "native", 1},
    {"25a_tokenizer_pool_1w", 1, {32, 64}, {8, 16, 32}, 1, "native", 1},
    {"25b_tokenizer_pool_4w", 1, {32, 64}, {8, 16, 32}, 1, "native", 4},
    {"26a_model_pool_1x", 1, {32, 64}, {8, 16, 32}, 1, "native", 4},
    {"26b_model_pool_2x", 1, {128}, {8, 16}, 2, "native", 2},
    {"27_dynamic_batch_tune", 3, {32, 64}, {8, 16, 32}, 2, "native", 4},
    {"28a_tokenizers_parallelism_off", 1, {128}, {16}, 1, "native", 1},
    {"28b_tokenizers_parallelism_on", 1, {128}, {16}, 1, "native", 1},
    {"28c_tokenizers_parallelism_off_w2", 1, {64}, {16}, 1, "native", 2},
    {"28d_tokenizers_parallelism_on_w2", 1, {64}, {16}, 1, "native", 2},
    {"28e_tokenizers_parallelism_on_w4", 1, {128}, {16}, 1, "native", 4},
    {"29a_tokenization_only_throughput", 1, {64}, {16}, 1, "native", 1},
    {"29b_inference_only_throughput", 1, {64, 128}, {16}, 1, "native", 1},
    {"29c_inference_only_breakpoint", 1, {128}, {8, 16, 32, 64}, 1, "native", 1},
    {"29d_inference_only_batch", 1, {64, 96, 128, 160, 192, 224, 256}, {8}, 1, "native", 1},
    {"29e_inference_only_batch_model_pool", 1, {128, 160, 192, 224, 256}, {8, 16}, 3, "native", 1},
    {"29f_inference_only", 1, {128}, {16}, 1, "native", 1},
    {"29g_inference_only_model_pool", 1, {128}, {16}, 4, "native", 1},
    {"30a_tokeniser_w1", 1, {128}, {16}, 1, "native", 1},
    {"30b_tokeniser_w4_model_w4", 1, {128}, {16}, 4, "native", 2},
    {"30c_tokeniser_w1_parallel", 1, {128}, {16}, 1, "native", 1},
    {"40_precision", 3, {1, 32, 96}, {1, 4}, 1, "native", 1},
    {"41_threads", 3, {8, 96}, {1, 4}, 1, "native", 1},
    {"42_length_distribution", 4, {32}, {1, 4}, 1, "native", 1},
    {"43_open_loop", 1, {1, 20}, {1}, 1, "native", 1},
    {"44_overflow_policy", 2, {32}, {1, 4}, 1, "native", 1},
    {"45_fairness", 2, {5}, {1, 4}, 1, "native", 1},
    {"cpu_sanity_check", 1, {1}, {1}, 1, "pytorch", 1},
    {"cpu_sanity_check_native", 1, {1}, {1}, 1, "native", 1},
    {"cuda_test", 1, {32}, {1}, 1, "cuda", 1},
    {"cuda_test_native", 1, {32}, {1}, 1, "native", 1},
    {"default", 1, {32}, {1}, 1, "native", 1},
    {"inference_only", 1, {32, 64, 128}, {4, 8, 16}, 1, "native", 1},
    {"tokenization_only", 1, {32, 64, 128}, {4, 8, 16}, 1, "native", 1},
};

ExperimentPlan Load(const std::string& name) {
  auto plan = LoadExperiment({kFolder + "/" + name + ".yaml", {}, {}, false});
  EXPECT_TRUE(plan.ok()) << plan.status().ToString();
  return plan.ok() ? *plan : ExperimentPlan{};
}

const Settings& First(const ExperimentPlan& plan) { return plan.variants.front().settings; }

TEST(Catalogue, EveryFileExpandsToItsGrid) {
  for (const Expected& expected : kCatalogue) {
    SCOPED_TRACE(expected.name);
    const ExperimentPlan plan = Load(expected.name);
    ASSERT_EQ(plan.variants.size(), expected.variants);
    const Settings& settings = First(plan);
    EXPECT_EQ(settings.name, expected.name);
    EXPECT_FALSE(settings.description.empty());
    EXPECT_THAT(settings.experiment.batch_sizes, ElementsAreArray(expected.batch_sizes));
    EXPECT_THAT(settings.experiment.concurrency_levels, ElementsAreArray(expected.concurrency_levels));
    EXPECT_EQ(settings.instances.size(), expected.instances);
    EXPECT_EQ(settings.instances.front().backend, expected.backend);
    EXPECT_EQ(settings.tokenizer_pool.num_workers, expected.tokenizers);
  }
}

TEST(Catalogue, HasNoFileThatIsNotExpected) {
  std::set<std::string> expected = {"base_config"}, found;
  for (const Expected& row : kCatalogue) expected.insert(row.name);
  for (const fs::directory_entry& entry : fs::directory_iterator(kFolder))
    if (entry.path().extension() == ".yaml") found.insert(entry.path().stem().string());
  EXPECT_EQ(found, expected);
}

// Where the twin of a file for other hardware is called anything but NAME_native.
const std::map<std::string, std::string> kTwins = {
    {"01_backend_pytorch", "02_backend_native"},   {"02_backend_mps", "02_backend_native"},
    {"03_backend_mlx", "02_backend_native"},       {"05a_batch_size_mps", "05a_batch_size"},
    {"05b_batch_size_mlx", "05a_batch_size"},      {"06a_concurrency_mps", "06a_concurrency"},
    {"06b_concurrency_mlx", "06a_concurrency"},    {"08a_dynamic_batch_mps", "08a_dynamic_batch"},
    {"08b_dynamic_batch_mlx", "08a_dynamic_batch"}};

// Whatever is measured on other hardware is measured on a CPU too, with the same load and batching.
TEST(Catalogue, WhatIsBoundToOtherHardwareHasATwinForTheCpu) {
  for (const Expected& row : kCatalogue) {
    if (row.backend == std::string("native")) continue;
    const auto named = kTwins.find(row.name);
    const std::string twin_name = named != kTwins.end() ? named->second : std::string(row.name) + "_native";
    SCOPED_TRACE(fmt::format("{} and {}", row.name, twin_name));
    const ExperimentPlan other = Load(row.name), twin_plan = Load(twin_name);
    ASSERT_FALSE(other.variants.empty() || twin_plan.variants.empty());
    const Settings &there = First(other), &here = First(twin_plan);
    EXPECT_EQ(here.instances.front().backend, "native");
    EXPECT_EQ(here.experiment.batch_sizes, there.experiment.batch_sizes);
    EXPECT_EQ(here.experiment.concurrency_levels, there.experiment.concurrency_levels);
    EXPECT_EQ(here.experiment.benchmark_requests, there.experiment.benchmark_requests);
    EXPECT_EQ(here.batching.enabled, there.batching.enabled);
    EXPECT_EQ(here.batching.max_batch_size, there.batching.max_batch_size);
    EXPECT_EQ(here.batching.timeout_ms, there.batching.timeout_ms);
    EXPECT_EQ(here.batching.length_aware, there.batching.length_aware);
  }
}

TEST(Catalogue, SettingsBesideTheGrid) {
  const Settings fifteen = First(Load("15_production_optimal"));
  EXPECT_EQ(fifteen.instances.front().max_length, 175);
  EXPECT_TRUE(fifteen.batching.length_aware);
  EXPECT_EQ(fifteen.experiment.benchmark_requests, 500);

  const Settings replicas = First(Load("11_multi_model_replicas"));
  EXPECT_EQ(replicas.routing_strategy, "first_idle");
  EXPECT_EQ(replicas.server.grpc_workers, 12);

  const Settings tokenizing = First(Load("28d_tokenizers_parallelism_on_w2"));
  EXPECT_EQ(tokenizing.pipeline_mode, "tokenization_only");
  EXPECT_TRUE(tokenizing.tokenizer_pool.tokenizers_parallelism);
  EXPECT_EQ(tokenizing.experiment.benchmark_duration_s, 60.0);
  EXPECT_EQ(tokenizing.experiment.prefill_requests, 128);
  EXPECT_EQ(tokenizing.experiment.dataset_size, 20000);

  const Settings model_only = First(Load("29e_inference_only_batch_model_pool"));
  EXPECT_EQ(model_only.pipeline_mode, "inference_only");
  EXPECT_EQ(model_only.instances.back().max_length, 200);

  const ExperimentSettings open = First(Load("43_open_loop")).experiment;
  EXPECT_EQ(open.load, "open");
  EXPECT_THAT(open.rates, testing::ElementsAre("50%", "80%", "95%"));
  EXPECT_EQ(open.repeats, 3);
  EXPECT_EQ(First(Load("40_precision")).experiment.quality.data, "bundled");
  const ExperimentPlan fairness = Load("45_fairness");
  EXPECT_EQ(fairness.variants[0].settings.experiment.background.batch_size, 0);
  EXPECT_EQ(fairness.variants[1].settings.experiment.background.batch_size, 1000);

  EXPECT_EQ(First(Load("03_backend_mlx")).instances.front().precision, "fp16");
  EXPECT_EQ(First(Load("04_backend_compiled")).instances.front().compile_mode, "reduce-overhead");
  EXPECT_TRUE(First(Load("14_optimized_production")).batching.length_aware);
  EXPECT_EQ(First(Load("01_backend_pytorch")).instances.front().precision, "fp16");
}

TEST(Catalogue, SweepsNameTheirCombinations) {
  const ExperimentPlan modes = Load("09_compile_mode_sweep");
  EXPECT_EQ(modes.variants[0].label, "_def");
  EXPECT_EQ(modes.variants[1].label, "_ro");
  EXPECT_EQ(modes.variants[2].label, "_ma");
  const ExperimentPlan batches = Load("06_dynamic_batch_max_batch_sweep");
  EXPECT_EQ(batches.variants[0].label, "_mps_batch32");
  EXPECT_EQ(batches.variants[9].label, "_mlx_batch256");
  const ExperimentPlan precisions = Load("24b_backend_cpu_baseline");
  EXPECT_EQ(precisions.variants[1].settings.instances.front().precision, "int8");
}

}  // namespace
}  // namespace rerankd::experiment
