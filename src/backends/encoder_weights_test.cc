#include "backends/encoder_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace rerankd {
namespace {

using testing::HasSubstr;

// Keeps what it is given.
struct Recorder {
  struct Tensor {
    std::vector<float> values;
    Shape shape;
  };
  struct Dense {
    DenseValues values;
    bool head = false;
  };
  std::string refuse;  // name of a layer

  static Tensor Place(const std::vector<float>& values, const Shape& shape) { return {values, shape}; }
  Result<Dense> MakeDense(const DenseValues& values, bool head) const {
    if (values.name == refuse) return FailedPrecondition("not " + refuse);
    return Dense{values, head};
  }
};

class EncoderWeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
    auto config = LoadModelConfig(folder);
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    config_ = *config;
    auto source = TensorSource::Open(folder, config_);
    ASSERT_TRUE(source.ok()) << source.status().ToString();
    source_.emplace(*std::move(source));
  }

  std::vector<float> Read(const std::string& name, const Shape& shape) const {
    auto values = source_->ReadFloats(name, shape);
    EXPECT_TRUE(values.ok()) << values.status().ToString();
    return values.ok() ? *values : std::vector<float>();
  }

  ModelConfig config_;  // 64 wide, 3 layers, 160 inside
  std::optional<TensorSource> source_;
};

TEST_F(EncoderWeightsTest, StacksTheProjectionsAndSplitsTheLastLayer) {
  Recorder engine;
  const auto weights = EncoderWeights<Recorder>::Load(*source_, config_, &engine);
  ASSERT_TRUE(weights.ok()) << weights.status().ToString();
  ASSERT_EQ(weights->layers.size(), 3U);
  const DenseValues& stacked = weights->layers[1].query_key_value.values;
  EXPECT_EQ(stacked.outputs, 3 * 64);
  EXPECT_EQ(stacked.inputs, 64);
  std::vector<float> expected_weight, expected_bias;
  for (const char* part : {"query", "key", "value"}) {
    const std::string name = std::string("bert.encoder.layer.1.attention.self.") + part;
    for (const float value : Read(name + ".weight", {64, 64})) expected_weight.push_back(value);
    for (const float value : Read(name + ".bias", {64})) expected_bias.push_back(value);
  }
  EXPECT_EQ(stacked.weight, expected_weight);
  EXPECT_EQ(stacked.bias, expected_bias);
  const auto& last = weights->layers[2];
  EXPECT_EQ(last.query_key_value.values.outputs, 0);
  EXPECT_EQ(last.query.values.outputs, 64);
  EXPECT_EQ(last.key_value.values.outputs, 2 * 64);
  EXPECT_EQ(last.wide.values.outputs, 160);
  EXPECT_EQ(last.narrow.values.inputs, 160);
  EXPECT_FALSE(last.narrow.head);
  EXPECT_TRUE(weights->pooler.head && weights->classifier.head);
  EXPECT_EQ(weights->words.shape, (Shape{config_.vocab_size, 64}));
  EXPECT_EQ(weights->norm.bias.values, Read("bert.embeddings.LayerNorm.bias", {64}));
}

TEST_F(EncoderWeightsTest, PassesOnWhatTheEngineRefusesAndWhatTheFileLacks) {
  Recorder engine;
  engine.refuse = "bert.encoder.layer.0.intermediate.dense";
  EXPECT_EQ(EncoderWeights<Recorder>::Load(*source_, config_, &engine).status().message(),
            "not " + engine.refuse);
  config_.num_layers = 4;
  engine.refuse.clear();
  EXPECT_THAT(EncoderWeights<Recorder>::Load(*source_, config_, &engine).status().message(),
              HasSubstr("bert.encoder.layer.3."));
}

}  // namespace
}  // namespace rerankd
