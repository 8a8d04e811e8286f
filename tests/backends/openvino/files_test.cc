// Files of OpenVINO in a model folder: one that fits is run, any other is refused with what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <openvino/core/graph_util.hpp>
#include <openvino/core/model.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/runtime/core.hpp>

#include "base/file.h"
#include "engine/backend_registry.h"
#include "model/bert_onnx.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

const std::string kTiny = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
const std::string kDefault = std::string(RERANKD_SOURCE_DIR) + "/models/default";

Result<std::unique_ptr<Backend>> Make(const std::string& folder, const std::string& precision = "fp32") {
  InstanceSettings settings;
  settings.backend = "openvino";
  settings.precision = precision;
  RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(folder));
  RERANKD_ASSIGN_OR_RETURN(auto backends, BackendRegistry().Make({settings, folder, config, 1}));
  return std::move(backends.front());
}

std::vector<float> Score(Backend* backend) {
  std::vector<int32_t> ids(40);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7 % 300);
  std::vector<uint8_t> types(ids.size(), 0);
  std::fill(types.begin() + 10, types.end(), uint8_t{1});
  Batch batch;
  for (const size_t length : {size_t{40}, size_t{25}, size_t{12}})
    batch.Add({std::span(ids).first(length), std::span(types).first(length)});
  std::vector<float> logits(3);
  const Status status = backend->Score(batch, CancelFlag(), logits, nullptr);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

double Farthest(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  return worst;
}

class OpenVinoFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "rerankd_openvino_files";
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/openvino");
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy(fs::path(kTiny) / file, folder_);
    file_ = folder_ + "/openvino/openvino_model.xml";
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A network that adds its inputs.
  void SaveSumOf(const std::vector<std::string>& inputs, ov::element::Type type) const {
    ov::ParameterVector parameters;
    ov::Output<ov::Node> sum;
    for (const std::string& name : inputs) {
      parameters.push_back(std::make_shared<ov::op::v0::Parameter>(type, ov::PartialShape{-1, -1}));
      parameters.back()->output(0).set_names({name});
      sum = parameters.size() == 1 ? parameters.back()->output(0)
                                   : std::make_shared<ov::op::v1::Add>(sum, parameters.back())->output(0);
    }
    const auto floats = std::make_shared<ov::op::v0::Convert>(sum, ov::element::f32);
    Save(std::make_shared<ov::Model>(ov::OutputVector{floats}, parameters));
  }
  void Save(const std::shared_ptr<ov::Model>& model) const { ov::save_model(model, file_, false); }

  std::string folder_, file_;
};

TEST_F(OpenVinoFiles, AFileOfTheFolderWins) {
  const auto config = LoadModelConfig(folder_);
  ASSERT_TRUE(config.ok());
  const auto source = TensorSource::Open(folder_, *config);
  ASSERT_TRUE(source.ok());
  const auto onnx = BertOnnxModel(*config, *source, {});
  ASSERT_TRUE(onnx.ok());
  Save(ov::Core().read_model(*onnx, ov::Tensor()));
  const auto own = Make(kTiny), from_file = Make(folder_);
  ASSERT_TRUE(own.ok() && from_file.ok()) << from_file.status().ToString();
  EXPECT_THAT((*own)->caps().details, HasSubstr("from the weights"));
  EXPECT_THAT((*from_file)->caps().details, HasSubstr("openvino_model.xml"));
  EXPECT_LE(Farthest(Score(own->get()), Score(from_file->get())), 1e-5);
}

TEST_F(OpenVinoFiles, WrongInputsAreNamed) {
  SaveSumOf({"input_ids", "attention_mask"}, ov::element::i64);
  const Status few = Make(folder_).status();
  EXPECT_EQ(few.code(), Code::kFailedPrecondition);
  EXPECT_THAT(few.message(),
              AllOf(HasSubstr(file_), HasSubstr("has only the inputs "), HasSubstr("input_ids"),
                    HasSubstr("attention_mask"), HasSubstr("remove the file")));
  SaveSumOf({"input_ids", "attention_mask", "token_type_ids", "position_ids"}, ov::element::i64);
  EXPECT_THAT(Make(folder_).status().message(),
              HasSubstr("has an input 'position_ids'; known are input_ids, attention_mask, token_type_ids"));
  SaveSumOf({"input_ids", "attention_mask", "token_type_ids"}, ov::element::i32);
  EXPECT_THAT(Make(folder_).status().message(), HasSubstr("' has type i32; i64 is needed"));
}

TEST_F(OpenVinoFiles, ABrokenFileIsNamed) {
  ASSERT_TRUE(WriteFileAtomically(file_, "no network").ok());
  EXPECT_THAT(Make(folder_).status().message(),
              HasSubstr(file_ + " has no weights: there is no " + folder_ + "/openvino/openvino_model.bin"));
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/openvino/openvino_model.bin", "").ok());
  EXPECT_THAT(Make(folder_).status().message(), HasSubstr(file_));
}

// The bundled model is stored as the very codes that int8 makes of it: what differs are the activations,
// which the device keeps as floats or quantises in groups. The conformance suite measures the ranking.
TEST(OpenVinoInt8, SaysInWhichGroupsActivationsAreQuantised) {
  const auto exact = Make(kDefault, "fp32"), int8 = Make(kDefault, "int8");
  ASSERT_TRUE(exact.ok() && int8.ok());
  EXPECT_THAT((*int8)->caps().details,
              ContainsRegex("int8 weights, dynamic quantisation in groups of [0-9]+"));
  const double distance = Farthest(Score(exact->get()), Score(int8->get()));
  std::cout << "int8 against fp32: max abs difference " << distance << "\n";
  EXPECT_LE(distance, 0.2);
}

}  // namespace
}  // namespace rerankd
