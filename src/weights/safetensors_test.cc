#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weights/test_files.h"

namespace rerankd {
namespace {

using testing::Bytes;
using ::testing::HasSubstr;
using testing::SafeTensorsFile;
using testing::TemporaryFolder;

const std::string kTestData = RERANKD_SOURCE_DIR "/tests/data/";

// The error of a file with this header and `data_bytes` bytes of data; empty if it is accepted.
std::string ErrorOf(std::string_view header, size_t data_bytes) {
  const std::string file = SafeTensorsFile(header, std::string(data_bytes, 'x'));
  const Status status = SafeTensors::Parse(Bytes(file), "m.safetensors").status();
  EXPECT_TRUE(status.ok() || status.code() == Code::kInvalidArgument) << status.ToString();
  return status.message();
}

TEST(SafeTensors, GivesViewsIntoTheFile) {
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"I8","shape":[2,3],"data_offsets":[8,14]},)"
                             R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string file = SafeTensorsFile(header, "01234567abcdef");
  const auto tensors = SafeTensors::Parse(Bytes(file), "m");
  ASSERT_TRUE(tensors.ok()) << tensors.status().ToString();
  EXPECT_EQ(tensors->tensors().size(), 2u);
  const TensorView* b = tensors->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, Dtype::kI8);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(b->bytes.data()), b->bytes.size()), "abcdef");
  EXPECT_EQ(tensors->Find("c"), nullptr);
}

TEST(SafeTensors, ScalarsEmptyTensorsAndForeignTypesAreFine) {
  EXPECT_EQ(ErrorOf(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                    R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},)"
                    R"("p":{"dtype":"I64","shape":[1],"data_offsets":[4,12]},)"
                    R"("q":{"dtype":"Q7","shape":[1],"data_offsets":[12,13]}})",
                    13),
            "");
  EXPECT_EQ(ErrorOf("{}", 0), "");
}

TEST(SafeTensors, RefusesLengthsThatTheFileDoesNotHold) {
  EXPECT_THAT(SafeTensors::Parse({}, "m").status().message(), HasSubstr("0 bytes"));
  EXPECT_THAT(SafeTensors::Parse(Bytes("1234567"), "m").status().message(), HasSubstr("7 bytes"));
  std::string file = SafeTensorsFile("{}", "");
  file[0] = 3;
  EXPECT_THAT(SafeTensors::Parse(Bytes(file), "m").status().message(), HasSubstr("header of 3 bytes"));
  for (size_t i = 0; i < 8; ++i) file[i] = '\xff';
  EXPECT_THAT(SafeTensors::Parse(Bytes(file), "m").status().message(),
              HasSubstr("header of 18446744073709551615 bytes where at most 2"));
}

TEST(SafeTensors, RefusesAHeaderBeyondTheLimitEvenWhenTheFileHoldsIt) {
  const std::string file = SafeTensorsFile("{}" + std::string((16 << 20) - 1, ' '), "");
  EXPECT_THAT(SafeTensors::Parse(Bytes(file), "m").status().message(), HasSubstr("at most 16777216"));
}

TEST(SafeTensors, RefusesBrokenJson) {
  EXPECT_THAT(ErrorOf("{\"a\":", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("[]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf("", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", 0),
              HasSubstr("nested deeper"));
}

TEST(SafeTensors, RefusesANameThatStandsTwice) {
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
                      R"("a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
                      2),
              HasSubstr("the key 'a' twice"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("the key 'shape' twice"));
}

TEST(SafeTensors, RefusesIncompleteEntriesByName) {
  EXPECT_THAT(ErrorOf(R"({"a":1})", 0), HasSubstr("tensor 'a' is not described"));
  EXPECT_THAT(ErrorOf(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("'a' has no 'dtype'"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","data_offsets":[0,1]}})", 1), HasSubstr("'a' needs a 'shape'"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1]}})", 1), HasSubstr("'a' needs 'data_offsets'"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0]}})", 1),
              HasSubstr("'a' needs 'data_offsets'"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1),
              HasSubstr("at most 8 dimensions"));
}

TEST(SafeTensors, RefusesSizesThatAreNoSizes) {
  for (const char* dimension : {"-1", "1.0", "\"1\"", "null", "9223372036854775808", "1e3"}) {
    EXPECT_THAT(
        ErrorOf(std::string(R"({"a":{"dtype":"I8","shape":[)") + dimension + R"(],"data_offsets":[0,1]}})",
                1),
        HasSubstr("'a' has a dimension that is not"))
        << dimension;
  }
  for (const char* offsets : {"-1,1", "1,0", "0,18446744073709551616", "0.0,1"}) {
    EXPECT_THAT(
        ErrorOf(std::string(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[)") + offsets + "]}}", 1),
        HasSubstr("'a' needs 'data_offsets'"))
        << offsets;
  }
}

TEST(SafeTensors, RefusesOffsetsPastTheEnd) {
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})", 1),
              HasSubstr("ends at byte 2 of the data, but the file holds 1"));
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[9223372036854775806,)"
                      R"(9223372036854775807]}})",
                      1),
              HasSubstr("the file holds 1"));
}

TEST(SafeTensors, RefusesAShapeThatDoesNotMatchTheBytes) {
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,20]}})", 20),
              HasSubstr("shape [3, 2] takes 24 bytes, but its offsets span 20"));
  // 2^32 * 2^32 is 0 in 64 bits: the product must not wrap around to the size of an empty tensor.
  EXPECT_THAT(ErrorOf(R"({"a":{"dtype":"I8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
              HasSubstr("takes more than 2^63 bytes"));
}

TEST(SafeTensors, RefusesOverlapHoleAndTrailingBytes) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"I8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"I8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_EQ(ErrorOf(two("[4,8]", "[0,4]"), 8), "");
  EXPECT_THAT(ErrorOf(two("[0,4]", "[3,7]"), 7), HasSubstr("'b' begins at byte 3 and overlaps"));
  EXPECT_THAT(ErrorOf(two("[0,4]", "[0,4]"), 4), HasSubstr("overlaps"));
  EXPECT_THAT(ErrorOf(two("[0,4]", "[5,9]"), 9), HasSubstr("'b' begins at byte 5 and leaves a hole after 4"));
  EXPECT_THAT(ErrorOf(two("[1,5]", "[5,9]"), 9), HasSubstr("'a' begins at byte 1 and leaves a hole"));
  EXPECT_THAT(ErrorOf(two("[0,4]", "[4,8]"), 10), HasSubstr("2 bytes behind the last tensor"));
}

// A real model's file, cut at many places of its header and its data.
TEST(SafeTensors, TruncationIsAnError) {
  const auto file = ReadFile(kTestData + "int8/model.safetensors");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(SafeTensors::Parse(Bytes(*file), "m").ok());
  uint64_t header = 0;
  std::memcpy(&header, file->data(), sizeof(header));
  for (size_t size = 0; size < file->size(); size += size < header + 16 ? 13 : 1999) {
    const Status status = SafeTensors::Parse(Bytes(std::string_view(*file).substr(0, size)), "m").status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << "cut to " << size;
  }
}

// Whichever byte of the header is changed, views stay inside the file.
TEST(SafeTensors, ChangedHeadersNeverLeaveTheFile) {
  const auto original = ReadFile(kTestData + "int8/model.safetensors");
  ASSERT_TRUE(original.ok());
  uint64_t header = 0;
  std::memcpy(&header, original->data(), sizeof(header));
  int accepted = 0;
  for (size_t i = 0; i < header + 8; i += 17) {
    for (const char value : {'9', '0', '"', ',', '\0', '\xff'}) {
      std::string file = *original;
      file[i] = value;
      const auto tensors = SafeTensors::Parse(Bytes(file), "m");
      if (!tensors.ok()) continue;
      ++accepted;
      for (const auto& [name, view] : tensors->tensors()) {
        ASSERT_GE(reinterpret_cast<const char*>(view.bytes.data()), file.data());
        ASSERT_LE(reinterpret_cast<const char*>(view.bytes.data() + view.bytes.size()),
                  file.data() + file.size());
      }
    }
  }
  EXPECT_GT(accepted, 0);  // changes inside names are harmless
}

TEST(SafeTensors, OpensOneFileAndShards) {
  const auto single = SafeTensors::OpenDirectory(kTestData + "tiny-random");
  ASSERT_TRUE(single.ok()) << single.status().ToString();
  const auto sharded = SafeTensors::OpenDirectory(kTestData + "sharded");
  ASSERT_TRUE(sharded.ok()) << sharded.status().ToString();
  // Both have two kinds of tensors outside the layers and 16 in each of 3 and 2 layers.
  EXPECT_EQ(single->tensors().size(), 5u + 3 * 16 + 4);
  EXPECT_EQ(sharded->tensors().size(), 5u + 2 * 16 + 4);
}

TEST(SafeTensors, ViewsOutliveAMove) {
  auto opened = SafeTensors::OpenDirectory(kTestData + "sharded");
  ASSERT_TRUE(opened.ok());
  const SafeTensors moved = std::move(*opened);
  int64_t sum = 0;
  for (const auto& [name, view] : moved.tensors()) {
    for (const std::byte b : view.bytes) sum += std::to_integer<int>(b);
  }
  EXPECT_GT(sum, 0);
}

class ShardedIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.Write("a.safetensors", One("x"));
    folder_.Write("b.safetensors", One("y"));
  }
  static std::string One(const std::string& name) {
    return SafeTensorsFile("{\"" + name + R"(":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "v");
  }
  Status Open(const std::string& index) {
    return SafeTensors::Open(folder_.Write("model.safetensors.index.json", index)).status();
  }
  TemporaryFolder folder_;
};

TEST_F(ShardedIndex, FindsTheTensorsOfAllShards) {
  folder_.Write("model.safetensors.index.json",
                R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  const auto tensors = SafeTensors::OpenDirectory(folder_.path());
  ASSERT_TRUE(tensors.ok()) << tensors.status().ToString();
  EXPECT_NE(tensors->Find("x"), nullptr);
  EXPECT_NE(tensors->Find("y"), nullptr);
}

TEST_F(ShardedIndex, RefusesMissingShardsAndTensors) {
  EXPECT_THAT(Open(R"({"weight_map":{"x":"c.safetensors"}})").message(), HasSubstr("c.safetensors"));
  EXPECT_THAT(Open(R"({"weight_map":{"z":"a.safetensors"}})").message(),
              HasSubstr("names tensor 'z', but 'a.safetensors' does not hold it"));
}

TEST_F(ShardedIndex, RefusesATensorInTwoShards) {
  folder_.Write("c.safetensors", One("x"));
  EXPECT_THAT(Open(R"({"weight_map":{"x":"a.safetensors","y":"c.safetensors"}})").message(),
              HasSubstr("tensor 'x' stands in another shard too"));
}

TEST_F(ShardedIndex, RefusesATensorInAnotherShardThanTheIndexSays) {
  EXPECT_THAT(Open(R"({"weight_map":{"x":"b.safetensors","y":"a.safetensors"}})").message(),
              HasSubstr("does not hold it"));
}

TEST_F(ShardedIndex, NeverLeavesItsFolder) {
  for (const char* shard : {"\"../a.safetensors\"", "\"/etc/passwd\"", "\"\"", "\"..\"", "3", "null"}) {
    EXPECT_THAT(Open(std::string(R"({"weight_map":{"x":)") + shard + "}}").message(),
                HasSubstr("a file in its own folder"))
        << shard;
  }
}

TEST_F(ShardedIndex, RefusesAnIndexWithoutAMap) {
  for (const char* index : {"{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":"a"})"})
    EXPECT_THAT(Open(index).message(), HasSubstr("weight_map")) << index;
  EXPECT_THAT(Open("{").message(), HasSubstr("not valid JSON"));
}

TEST(SafeTensors, AFolderWithoutWeightsSaysWhatItLooksFor) {
  const TemporaryFolder folder;
  const Status status = SafeTensors::OpenDirectory(folder.path()).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("model.safetensors.index.json"));
}

}  // namespace
}  // namespace rerankd
