#include "backends/engine_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "backends/padded_backend.h"

namespace rerankd {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(EngineFiles, AreThoseOfTheBackendAndThePrecision) {
  EXPECT_THAT(EngineFiles("onnx", "auto"), ElementsAre("onnx/model.onnx", "model.onnx"));
  EXPECT_THAT(EngineFiles("tensorrt", "fp16"), ElementsAre("onnx/model_fp16.onnx", "model_fp16.onnx"));
  EXPECT_THAT(EngineFiles("openvino", "bf16"),
              ElementsAre("openvino/openvino_model.xml", "openvino_model.xml"));
  EXPECT_THAT(EngineFiles("openvino", "int8"), Contains("openvino/openvino_model_qint8_quantized.xml"));
  EXPECT_THAT(EngineFiles("native", "int8"), IsEmpty());
  EXPECT_THAT(EngineFiles("pytorch", "fp32"), IsEmpty());
}

TEST(EngineFiles, SignedWeightsNeedVnni) {
  const auto files = EngineFiles("onnx", "int8");
  EXPECT_THAT(files, Contains("onnx/model_quint8_avx2.onnx"));
  EXPECT_EQ(std::count(files.begin(), files.end(), "onnx/model_qint8_avx512_vnni.onnx"), HasVnni() ? 1 : 0);
}

TEST(EngineFiles, TheBestThatIsThereWins) {
  const std::string folder = testing::TempDir() + "rerankd_engine_files";
  std::filesystem::create_directories(folder + "/onnx");
  EXPECT_EQ(FindEngineFile(folder, "onnx", "int8"), "");
  std::ofstream(folder + "/onnx/model_quantized.onnx") << "a";
  EXPECT_EQ(FindEngineFile(folder, "onnx", "int8"), folder + "/onnx/model_quantized.onnx");
  std::ofstream(folder + "/model_quint8_avx2.onnx") << "b";
  EXPECT_EQ(FindEngineFile(folder, "onnx", "int8"), folder + "/model_quint8_avx2.onnx");
  EXPECT_EQ(FindEngineFile(folder, "openvino", "int8"), "");
  std::filesystem::remove_all(folder);
}

TEST(EngineFiles, SomeNeedAnotherBesideThem) {
  EXPECT_THAT(CompanionsOf("openvino/openvino_model.xml"), ElementsAre("openvino/openvino_model.bin"));
  EXPECT_THAT(CompanionsOf("onnx/model.onnx"), ElementsAre("onnx/model.onnx_data", "onnx/model.onnx.data"));
}

TEST(PluginFolder, IsWhereThisCodeIs) {
  EXPECT_TRUE(std::filesystem::exists(PluginFolder() + "/padded_backend_test"));
}

}  // namespace
}  // namespace rerankd
