#include "model/bert_onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "model/onnx_writer.h"
#include "model/random_bert.h"

namespace rerankd {
namespace {

using testing::HasSubstr;

// The examples of the protobuf encoding's documentation, and IEEE 754.
TEST(ProtoWriter, WritesTheWireFormat) {
  ProtoWriter writer;
  writer.Int(1, 150);
  writer.Bytes(2, "testing");
  writer.Float(3, 1.0F);
  writer.Int(4, -1);
  EXPECT_EQ(writer.bytes(), std::string("\x08\x96\x01\x12\x07testing\x1d\x00\x00\x80\x3f\x20"
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                        28));
}

class BertOnnx : public testing::Test {
 protected:
  BertOnnx() : config_(MiniLmConfig()) {
    config_.hidden_size = 32;
    config_.num_layers = 2;
    config_.num_heads = 2;
    config_.intermediate_size = 48;
    config_.vocab_size = 60;
    config_.max_positions = 16;
    folder_ = testing::TempDir() + "bert_onnx_test";
    std::filesystem::create_directories(folder_);
    EXPECT_TRUE(WriteFileAtomically(folder_ + "/model.safetensors", RandomBertFile(config_, 1)).ok());
  }
  ~BertOnnx() override { std::filesystem::remove_all(folder_); }

  Result<std::string> Export(const ModelConfig& config, const OnnxOptions& options) const {
    RERANKD_ASSIGN_OR_RETURN(const TensorSource source, TensorSource::Open(folder_, config));
    return BertOnnxModel(config, source, options);
  }

  static int Count(std::string_view text, std::string_view word) {
    int count = 0;
    for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++count;
    return count;
  }

  ModelConfig config_;
  std::string folder_;
};

// What the engines make of it is tested in tests/backends against the goldens.
TEST_F(BertOnnx, HasTheOperatorsOfEveryLayer) {
  const auto model = Export(config_, {});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  // The operator's name as field 4 of a node: tag, length, name.
  EXPECT_EQ(Count(*model, "\x22\x04Gemm"), 2 * 6 + 2);
  EXPECT_EQ(Count(*model, "\x22\x07Softmax"), 2);
  EXPECT_EQ(Count(*model, "\x22\x04Gelu"), 2);
  EXPECT_EQ(Count(*model, "\x22\x12LayerNormalization"), 1 + 2 * 2);
  for (const char* name : {"input_ids", "attention_mask", "token_type_ids", "logits"})
    EXPECT_GT(Count(*model, name), 0) << name;
}

TEST_F(BertOnnx, Int8HasCodesForTheEncoderOnly) {
  const auto model = Export(config_, {.products = OnnxProducts::kInt8, .unsigned_codes = true});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_EQ(Count(*model, "\x22\x0dMatMulInteger"), 2 * 6);
  EXPECT_EQ(Count(*model, "\x22\x04Gemm"), 2);
}

TEST_F(BertOnnx, Int8WeightsAreWidenedBeforeTheProduct) {
  const auto model = Export(config_, {.products = OnnxProducts::kInt8Weights});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_EQ(Count(*model,
                  "\x22\x10"
                  "DequantizeLinear"),
            2 * 6);
  EXPECT_EQ(Count(*model, "\x22\x04Gemm"), 2 * 6 + 2);
}

TEST_F(BertOnnx, NamesTheTensorThatIsMissing) {
  config_.num_layers = 3;
  EXPECT_THAT(Export(config_, {}).status().message(),
              HasSubstr("bert.encoder.layer.2.attention.self.query.weight"));
}

}  // namespace
}  // namespace rerankd
