// Writes an ONNX ModelProto node by node. Own code, because Debian's protobuf library would clash with the
// copies inside the engines that read the result; the format needs a dozen fields.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rerankd {

// Serialises protobuf fields (encoding: varints, little-endian floats, length-delimited bytes).
class ProtoWriter {
 public:
  void Int(int field, int64_t value);
  void Float(int field, float value);
  void Bytes(int field, std::string_view value);

  const std::string& bytes() const { return bytes_; }

 private:
  void Varint(uint64_t value);

  std::string bytes_;
};

// Attribute of a node: exactly one of the kinds.
struct OnnxAttribute {
  OnnxAttribute(std::string_view n, int64_t value) : name(n), kind(kInt), integer(value) {}
  OnnxAttribute(std::string_view n, float value) : name(n), kind(kFloat), real(value) {}
  OnnxAttribute(std::string_view n, const char* value) : name(n), kind(kText), text(value) {}
  OnnxAttribute(std::string_view n, std::initializer_list<int64_t> values)
      : name(n), kind(kInts), integers(values) {}

  enum Kind { kFloat = 1, kInt = 2, kText = 3, kInts = 7 };  // AttributeProto.AttributeType
  std::string_view name;
  Kind kind;
  int64_t integer = 0;
  float real = 0;
  std::string_view text;
  std::vector<int64_t> integers;
};

class OnnxWriter {
 public:
  enum Type { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7 };  // TensorProto.DataType

  // A constant. Returns its name.
  std::string Constant(std::string_view name, Type type, std::span<const int64_t> shape,
                       std::span<const std::byte> values);
  std::string Floats(std::string_view name, std::initializer_list<int64_t> shape,
                     std::span<const float> values);
  std::string Ints(std::string_view name, std::initializer_list<int64_t> values);  // int64, one dimension

  // A node with one output. Returns the output's name, which is unique.
  std::string Node(std::string_view op, std::initializer_list<std::string_view> inputs,
                   std::initializer_list<OnnxAttribute> attributes = {});
  // A node with several outputs.
  std::vector<std::string> Nodes(std::string_view op, std::initializer_list<std::string_view> inputs,
                                 int outputs);

  // `shape`: numbers, or names of dimensions that the caller chooses.
  void Input(std::string_view name, Type type, std::initializer_list<std::string_view> shape);
  void Output(std::string_view name, std::string_view node, std::initializer_list<std::string_view> shape);

  std::string Finish(int opset) const;

 private:
  void Add(std::string_view op, std::span<const std::string_view> inputs,
           std::span<const std::string> outputs, std::span<const OnnxAttribute> attributes);
  std::string Fresh(std::string_view op) { return std::string(op) + "_" + std::to_string(count_++); }

  ProtoWriter graph_;
  int count_ = 0;
};

}  // namespace rerankd
