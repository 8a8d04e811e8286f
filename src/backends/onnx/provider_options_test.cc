#include "backends/onnx/provider_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rerankd::ort {
namespace {

using testing::Contains;
using testing::Key;
using testing::Not;
using testing::Pair;

TEST(ProviderOptions, TheProfileHoldsEveryRectangle) {
  EXPECT_EQ(TensorRtRows(512), 32);
  EXPECT_EQ(TensorRtRows(1 << 20), 1);
  const ProviderOptions options = TensorRtSettings("cuda:1", "fp16", 512, "");
  EXPECT_THAT(options, Contains(Pair("device_id", "1")));
  EXPECT_THAT(options, Contains(Pair("trt_fp16_enable", "1")));
  EXPECT_THAT(options, Contains(Pair("trt_profile_min_shapes",
                                     "input_ids:1x1,attention_mask:1x1,token_type_ids:1x1")));
  EXPECT_THAT(options, Contains(Pair("trt_profile_opt_shapes",
                                     "input_ids:32x128,attention_mask:32x128,token_type_ids:32x128")));
  EXPECT_THAT(options, Contains(Pair("trt_profile_max_shapes",
                                     "input_ids:32x512,attention_mask:32x512,token_type_ids:32x512")));
  EXPECT_THAT(options, Not(Contains(Key("trt_engine_cache_path"))));
}

TEST(ProviderOptions, Fp32MeansFp32AndEnginesAreKept) {
  const ProviderOptions options = TensorRtSettings("cuda", "fp32", 64, "/cache");
  EXPECT_THAT(options, Contains(Pair("device_id", "0")));
  EXPECT_THAT(options, Contains(Pair("trt_fp16_enable", "0")));
  EXPECT_THAT(options, Contains(Pair("trt_engine_cache_enable", "1")));
  EXPECT_THAT(options, Contains(Pair("trt_engine_cache_path", "/cache")));
  EXPECT_THAT(options, Contains(Pair("trt_timing_cache_path", "/cache")));
}

}  // namespace
}  // namespace rerankd::ort
