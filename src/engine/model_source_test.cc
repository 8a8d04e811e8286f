#include "engine/model_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rerankd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(FilesForUses, AreTheBestOfEachUseWithWhatBelongsToIt) {
  const std::vector<std::string> files = {"config.json",
                                          "model.onnx",
                                          "onnx/model.onnx",
                                          "onnx/model.onnx_data",
                                          "openvino/openvino_model.bin",
                                          "openvino/openvino_model.xml"};
  EXPECT_THAT(FilesForUses({{"onnx", "auto"}}, files),
              ElementsAre("onnx/model.onnx_data", "onnx/model.onnx"));
  EXPECT_THAT(FilesForUses({{"openvino", "fp32"}, {"native", "int8"}, {"openvino", "bf16"}}, files),
              ElementsAre("openvino/openvino_model.bin", "openvino/openvino_model.xml"));
  EXPECT_THAT(FilesForUses({{"onnx", "fp16"}, {"pytorch", "fp32"}}, files), IsEmpty());
}

TEST(UsesOf, AreThoseOfTheModelsInstances) {
  Settings settings;
  settings.instances.resize(3);
  settings.instances[0].model = settings.instances[2].model = "a/b";
  settings.instances[0].backend = "onnx";
  settings.instances[0].precision = "int8";
  settings.instances[2].backend = "openvino";
  const std::vector<ModelUse> uses = UsesOf(settings, "a/b");
  ASSERT_EQ(uses.size(), 2u);
  EXPECT_EQ(uses[0].backend, "onnx");
  EXPECT_EQ(uses[0].precision, "int8");
  EXPECT_EQ(uses[1].backend, "openvino");
  EXPECT_THAT(UsesOf(settings, "c/d"), IsEmpty());
}

}  // namespace
}  // namespace rerankd
