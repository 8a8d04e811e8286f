#include "weights/tensor_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "weights/float_convert.h"
#include "weights/test_files.h"

namespace rerankd {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Raw;
using testing::SafeTensorsFile;

struct Tensor {
  std::string name, dtype, shape, data;
};

// A source over tensors that are laid out one behind the other.
class Source {
 public:
  explicit Source(const std::vector<Tensor>& tensors, WeightStorage storage = WeightStorage::kFloat)
      : file_(Build(tensors)), source_(Parsed(file_), storage) {}
  const TensorSource* operator->() const { return &source_; }

 private:
  static std::string Build(const std::vector<Tensor>& tensors) {
    std::string header, data;
    for (const Tensor& t : tensors) {
      const size_t begin = data.size();
      data += t.data;
      header += (header.empty() ? "{\"" : ",\"") + t.name + R"(":{"dtype":")" + t.dtype + R"(","shape":)" +
                t.shape + R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(data.size()) +
                "]}";
    }
    return SafeTensorsFile(header + "}", data);
  }
  static SafeTensors Parsed(const std::string& file) {
    auto tensors = SafeTensors::Parse(Bytes(file), "m.safetensors");
    EXPECT_TRUE(tensors.ok()) << tensors.status().ToString();
    return std::move(*tensors);
  }

  std::string file_;
  TensorSource source_;
};

TEST(FloatConvert, F16IsExact) {
  EXPECT_EQ(FloatFromF16(0x0000), 0.0F);
  EXPECT_TRUE(std::signbit(FloatFromF16(0x8000)));
  EXPECT_EQ(FloatFromF16(0x3C00), 1.0F);
  EXPECT_EQ(FloatFromF16(0xC000), -2.0F);
  EXPECT_EQ(FloatFromF16(0x7BFF), 65504.0F);
  EXPECT_EQ(FloatFromF16(0x0001), std::ldexp(1.0F, -24));
  EXPECT_EQ(FloatFromF16(0x83FF), -std::ldexp(1023.0F, -24));
  EXPECT_EQ(FloatFromF16(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(FloatFromF16(0x7C01)));
}

// Every finite value against its definition: sign * 2^(e - 25) * (1024 + m), subnormals without the 1024.
TEST(FloatConvert, F16MatchesItsDefinitionEverywhere) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto exponent = static_cast<int>(bits >> 10);
    const auto mantissa = static_cast<float>(bits & 0x3FF);
    const float expected =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0F + mantissa, exponent - 25);
    ASSERT_EQ(FloatFromF16(static_cast<uint16_t>(bits)), expected) << bits;
    ASSERT_EQ(FloatFromF16(static_cast<uint16_t>(bits | 0x8000)), -expected) << bits;
  }
}

TEST(FloatConvert, Bf16IsTheUpperHalfOfF32) {
  EXPECT_EQ(FloatFromBf16(0x3F80), 1.0F);
  EXPECT_EQ(FloatFromBf16(0xC049), -3.140625F);
}

TEST(TensorSource, ReadsEveryFloatType) {
  const Source source({{"f", "F32", "[2]", Raw<float>({1.5F, -2})},
                       {"h", "F16", "[2]", Raw<uint16_t>({0x3C00, 0xC000})},
                       {"b", "BF16", "[1,2]", Raw<uint16_t>({0x3F80, 0xC049})}});
  EXPECT_THAT(*source->ReadFloats("f", {2}), ElementsAre(1.5F, -2.0F));
  EXPECT_THAT(*source->ReadFloats("h", {2}), ElementsAre(1.0F, -2.0F));
  EXPECT_THAT(*source->ReadFloats("b", {1, 2}), ElementsAre(1.0F, -3.140625F));
}

TEST(TensorSource, ReadsFloatsAtOddAddresses) {
  const Source source({{"odd", "I8", "[1]", "x"}, {"f", "F32", "[1]", Raw<float>({0.25F})}});
  EXPECT_THAT(*source->ReadFloats("f", {1}), ElementsAre(0.25F));
}

TEST(TensorSource, AMissingTensorNamesItselfAndItsShape) {
  const Source source({{"f", "F32", "[1]", Raw<float>({1})}});
  const Status status = source->ReadFloats("classifier.weight", {1, 384}).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("m.safetensors"), HasSubstr("'classifier.weight'"), HasSubstr("[1, 384]")));
}

TEST(TensorSource, AMisshapenTensorNamesBothShapes) {
  const Source source({{"f", "F32", "[2,1]", Raw<float>({1, 2})}});
  EXPECT_THAT(source->ReadFloats("f", {1, 2}).status().message(),
              AllOf(HasSubstr("'f'"), HasSubstr("[2, 1]"), HasSubstr("[1, 2]")));
}

TEST(TensorSource, ReadsNamesWithoutPrefixAndLegacyLayerNormNames) {
  const Source source({{"encoder.w", "F32", "[1]", Raw<float>({1})},
                       {"bert.x.LayerNorm.gamma", "F32", "[1]", Raw<float>({2})},
                       {"y.LayerNorm.beta", "F32", "[1]", Raw<float>({3})}});
  EXPECT_THAT(*source->ReadFloats("bert.encoder.w", {1}), ElementsAre(1.0F));
  EXPECT_THAT(*source->ReadFloats("bert.x.LayerNorm.weight", {1}), ElementsAre(2.0F));
  EXPECT_THAT(*source->ReadFloats("bert.y.LayerNorm.bias", {1}), ElementsAre(3.0F));
}

TEST(TensorSource, RefusesForeignTypesOnlyWhenTheyAreRead) {
  const Source source(
      {{"position_ids", "I64", "[1]", std::string(8, '\0')}, {"f", "F32", "[1]", Raw<float>({1})}});
  EXPECT_TRUE(source->ReadFloats("f", {1}).ok());
  const Status status = source->ReadFloats("position_ids", {1}).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("'position_ids'"), HasSubstr("I64")));
}

TEST(TensorSource, RefusesValuesThatAreNotFinite) {
  const Source source(
      {{"f", "F32", "[2]", Raw<float>({1, NAN})}, {"h", "F16", "[1]", Raw<uint16_t>({0x7C00})}});
  EXPECT_THAT(source->ReadFloats("f", {2}).status().message(),
              AllOf(HasSubstr("'f'"), HasSubstr("nan at position 1")));
  EXPECT_THAT(source->ReadFloats("h", {1}).status().message(), HasSubstr("inf"));
}

std::vector<Tensor> Int8Tensors(const std::string& scale_dtype, const std::string& scales) {
  return {{"w.weight", "I8", "[2,3]", Raw<int8_t>({1, -2, 3, 127, -127, 0})},
          {"w.weight_scale", scale_dtype, "[2]", scales}};
}

TEST(TensorSource, DequantisesRowByRow) {
  const Source source(Int8Tensors("F32", Raw<float>({0.5F, 2})), WeightStorage::kInt8);
  EXPECT_TRUE(source->IsInt8("bert.w.weight"));
  EXPECT_FALSE(source->IsInt8("absent"));
  EXPECT_THAT(*source->ReadFloats("w.weight", {2, 3}), ElementsAre(0.5F, -1.0F, 1.5F, 254.0F, -254.0F, 0.0F));
}

TEST(TensorSource, GivesTheStoredRowsAndScales) {
  const Source source(Int8Tensors("F32", Raw<float>({0.5F, 2})), WeightStorage::kInt8);
  const auto matrix = source->ReadInt8("bert.w.weight", {2, 3});
  ASSERT_TRUE(matrix.ok()) << matrix.status().ToString();
  EXPECT_EQ(matrix->rows, 2);
  EXPECT_EQ(matrix->columns, 3);
  EXPECT_THAT(matrix->values, ElementsAre(1, -2, 3, 127, -127, 0));
  EXPECT_THAT(matrix->scales, ElementsAre(0.5F, 2.0F));
}

TEST(TensorSource, RefusesInt8ThatTheConfigurationDoesNotAnnounce) {
  const Source source(Int8Tensors("F32", Raw<float>({1, 1})));
  EXPECT_THAT(source->ReadFloats("w.weight", {2, 3}).status().message(), HasSubstr("rerankd-int8"));
}

TEST(TensorSource, RefusesBadScales) {
  const auto error = [](const std::vector<Tensor>& tensors) {
    return Source(tensors, WeightStorage::kInt8)->ReadFloats("w.weight", {2, 3}).status().message();
  };
  EXPECT_THAT(error(Int8Tensors("F32", Raw<float>({1, -1}))), HasSubstr("negative scale"));
  EXPECT_THAT(error(Int8Tensors("F32", Raw<float>({1, INFINITY}))), HasSubstr("'w.weight_scale' holds inf"));
  EXPECT_THAT(error(Int8Tensors("F16", Raw<uint16_t>({1, 1}))), HasSubstr("scales are F32"));
  EXPECT_THAT(error({Int8Tensors("F32", "")[0]}), HasSubstr("no tensor 'w.weight_scale' of shape [2]"));
}

TEST(TensorSource, RawInt8OfAFloatTensorIsAnError) {
  const Source source({{"f", "F32", "[1,1]", Raw<float>({1})}}, WeightStorage::kInt8);
  EXPECT_THAT(source->ReadInt8("f", {1, 1}).status().message(),
              HasSubstr("F32 [1, 1], not as an int8 matrix"));
}

// The committed models store the same kind of network in every way that we read.
TEST(TensorSource, ReadsTheCommittedModels) {
  for (const char* name : {"tiny-random", "labels3-f16", "relu-bf16", "sharded", "int8"}) {
    const std::string folder = std::string(RERANKD_SOURCE_DIR "/tests/data/") + name;
    const auto config = LoadModelConfig(folder);
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    const auto source = TensorSource::Open(folder, *config);
    ASSERT_TRUE(source.ok()) << source.status().ToString();
    const auto words = source->ReadFloats("bert.embeddings.word_embeddings.weight",
                                          {config->vocab_size, config->hidden_size});
    ASSERT_TRUE(words.ok()) << words.status().ToString();
    double squares = 0;
    for (const float value : *words) squares += double{value} * value;
    EXPECT_NEAR(squares / static_cast<double>(words->size()), 1.0, 0.05) << name;  // drawn from N(0, 1)
  }
}

}  // namespace
}  // namespace rerankd
