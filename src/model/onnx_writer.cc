#include "model/onnx_writer.h"

#include <bit>
#include <charconv>
#include <cstring>

namespace rerankd {
namespace {

// Field numbers of onnx.proto.
namespace model_proto {
constexpr int kIrVersion = 1, kProducer = 2, kGraph = 7, kOpset = 8;
}
namespace graph_proto {
constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12;
}
namespace node_proto {
constexpr int kInput = 1, kOutput = 2, kName = 3, kOp = 4, kAttribute = 5;
}
namespace attribute_proto {
constexpr int kName = 1, kFloat = 2, kInt = 3, kText = 4, kInts = 8, kType = 20;
}
namespace tensor_proto {
constexpr int kDims = 1, kType = 2, kName = 8, kRaw = 9;
}

constexpr int64_t kIrVersion = 10;

std::string ValueInfo(std::string_view name, OnnxWriter::Type type,
                      std::initializer_list<std::string_view> shape) {
  ProtoWriter dims;
  for (const std::string_view dim : shape) {
    ProtoWriter one;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(dim.data(), dim.data() + dim.size(), number);
    if (error == std::errc() && end == dim.data() + dim.size())
      one.Int(1, number);
    else
      one.Bytes(2, dim);
    dims.Bytes(1, one.bytes());
  }
  ProtoWriter tensor, any, info;
  tensor.Int(1, type);
  tensor.Bytes(2, dims.bytes());
  any.Bytes(1, tensor.bytes());
  info.Bytes(1, name);
  info.Bytes(2, any.bytes());
  return info.bytes();
}

std::string AttributeBytes(const OnnxAttribute& attribute) {
  ProtoWriter out;
  out.Bytes(attribute_proto::kName, attribute.name);
  switch (attribute.kind) {
    case OnnxAttribute::kFloat:
      out.Float(attribute_proto::kFloat, attribute.real);
      break;
    case OnnxAttribute::kInt:
      out.Int(attribute_proto::kInt, attribute.integer);
      break;
    case OnnxAttribute::kText:
      out.Bytes(attribute_proto::kText, attribute.text);
      break;
    case OnnxAttribute::kInts:
      for (const int64_t value : attribute.integers) out.Int(attribute_proto::kInts, value);
      break;
  }
  out.Int(attribute_proto::kType, attribute.kind);
  return out.bytes();
}

}  // namespace

void ProtoWriter::Varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtoWriter::Int(int field, int64_t value) {
  Varint(static_cast<uint64_t>(field) << 3);
  Varint(static_cast<uint64_t>(value));
}

void ProtoWriter::Float(int field, float value) {
  Varint(static_cast<uint64_t>(field) << 3 | 5);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift);
}

void ProtoWriter::Bytes(int field, std::string_view value) {
  Varint(static_cast<uint64_t>(field) << 3 | 2);
  Varint(value.size());
  bytes_ += value;
}

std::string OnnxWriter::Constant(std::string_view name, Type type, std::span<const int64_t> shape,
                                 std::span<const std::byte> values) {
  ProtoWriter tensor;
  for (const int64_t dim : shape) tensor.Int(tensor_proto::kDims, dim);
  tensor.Int(tensor_proto::kType, type);
  tensor.Bytes(tensor_proto::kName, name);
  tensor.Bytes(tensor_proto::kRaw, {reinterpret_cast<const char*>(values.data()), values.size()});
  graph_.Bytes(graph_proto::kInitializer, tensor.bytes());
  return std::string(name);
}

std::string OnnxWriter::Floats(std::string_view name, std::initializer_list<int64_t> shape,
                               std::span<const float> values) {
  return Constant(name, kFloat, {shape.begin(), shape.size()}, std::as_bytes(values));
}

std::string OnnxWriter::Ints(std::string_view name, std::initializer_list<int64_t> values) {
  const auto count = static_cast<int64_t>(values.size());
  return Constant(name, kInt64, {&count, 1}, std::as_bytes(std::span(values.begin(), values.size())));
}

void OnnxWriter::Add(std::string_view op, std::span<const std::string_view> inputs,
                     std::span<const std::string> outputs, std::span<const OnnxAttribute> attributes) {
  ProtoWriter node;
  for (const std::string_view input : inputs) node.Bytes(node_proto::kInput, input);
  for (const std::string& output : outputs) node.Bytes(node_proto::kOutput, output);
  node.Bytes(node_proto::kName, outputs.front());
  node.Bytes(node_proto::kOp, op);
  for (const OnnxAttribute& attribute : attributes)
    node.Bytes(node_proto::kAttribute, AttributeBytes(attribute));
  graph_.Bytes(graph_proto::kNode, node.bytes());
}

std::string OnnxWriter::Node(std::string_view op, std::initializer_list<std::string_view> inputs,
                             std::initializer_list<OnnxAttribute> attributes) {
  const std::string output = Fresh(op);
  Add(op, {inputs.begin(), inputs.size()}, {&output, 1}, {attributes.begin(), attributes.size()});
  return output;
}

std::vector<std::string> OnnxWriter::Nodes(std::string_view op,
                                           std::initializer_list<std::string_view> inputs, int outputs) {
  std::vector<std::string> names;
  for (int i = 0; i < outputs; ++i) names.push_back(Fresh(op));
  Add(op, {inputs.begin(), inputs.size()}, names, {});
  return names;
}

void OnnxWriter::Input(std::string_view name, Type type, std::initializer_list<std::string_view> shape) {
  graph_.Bytes(graph_proto::kInput, ValueInfo(name, type, shape));
}

void OnnxWriter::Output(std::string_view name, std::string_view node,
                        std::initializer_list<std::string_view> shape) {
  const std::string output(name);
  Add("Identity", {&node, 1}, {&output, 1}, {});
  graph_.Bytes(graph_proto::kOutput, ValueInfo(name, kFloat, shape));
}

std::string OnnxWriter::Finish(int opset) const {
  ProtoWriter version, graph_name, model;
  version.Bytes(1, "");
  version.Int(2, opset);
  graph_name.Bytes(graph_proto::kName, "rerankd");
  model.Int(model_proto::kIrVersion, kIrVersion);
  model.Bytes(model_proto::kProducer, "rerankd");
  model.Bytes(model_proto::kOpset, version.bytes());
  // Two pieces of one message: readers merge them.
  model.Bytes(model_proto::kGraph, graph_name.bytes());
  model.Bytes(model_proto::kGraph, graph_.bytes());
  return model.bytes();
}

}  // namespace rerankd
