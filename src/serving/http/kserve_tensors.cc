#include "serving/http/kserve_tensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/text.h"

namespace rerankd::serving {
namespace {

constexpr int64_t kMostValues = 1 << 30;
constexpr std::string_view kOutputs[] = {"scores", "tokens", "truncated"};

// Takes bytes off the front of the binary part.
class Binary {
 public:
  explicit Binary(std::string_view bytes) : bytes_(bytes) {}

  std::optional<std::string_view> Take(uint64_t size) {
    if (size > bytes_.size()) return std::nullopt;
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

uint32_t LittleEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

void AppendLittleEndian32(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift & 0xff));
}

// The number of values that `shape` says.
Result<int64_t> ReadShape(const Json& input, const std::string& name) {
  const Json* shape = Find(input, "shape");
  if (shape == nullptr || !shape->is_array() || shape->empty())
    return InvalidArgument("input '" + name + "': `shape` must be a list of at least 1 integer");
  int64_t values = 1;
  for (const Json& item : *shape) {
    RERANKD_ASSIGN_OR_RETURN(const int64_t size, ReadInteger(item, "shape", 0, kMostValues));
    values *= size;
    if (values > kMostValues) return InvalidArgument("input '" + name + "': `shape` has too many values");
  }
  return values;
}

// Nested or flat; nesting was bounded when the body was parsed.
Status Flatten(const Json& data, const std::string& name, std::vector<std::string>* out) {
  if (data.is_string()) {
    out->push_back(data.get<std::string>());
    return {};
  }
  if (!data.is_array())
    return InvalidArgument("input '" + name + "': `data` must hold strings, not " + data.type_name());
  for (const Json& item : data) RERANKD_RETURN_IF_ERROR(Flatten(item, name, out));
  return {};
}

// Every string has its length in front, 4 bytes.
Status SplitBytes(std::string_view bytes, const std::string& name, std::vector<std::string>* out) {
  Binary rest(bytes);
  while (!rest.empty()) {
    const auto length = rest.Take(4);
    const auto text = length ? rest.Take(LittleEndian32(*length)) : std::nullopt;
    if (!text) return InvalidArgument("input '" + name + "': a string of the binary data is cut short");
    if (FirstInvalidUtf8(*text)) return InvalidArgument("input '" + name + "': a string is not UTF-8");
    out->emplace_back(*text);
  }
  return {};
}

Status ReadValues(const Json& input, Binary* binary, StringTensor* tensor) {
  const Json* parameters = Find(input, "parameters");
  const bool has_parameters = parameters != nullptr && parameters->is_object();
  const Json* size = has_parameters ? Find(*parameters, "binary_data_size") : nullptr;
  if (size == nullptr) {
    const Json* data = Find(input, "data");
    if (data == nullptr) return InvalidArgument("input '" + tensor->name + "' has no `data`");
    return Flatten(*data, tensor->name, &tensor->values);
  }
  RERANKD_ASSIGN_OR_RETURN(const int64_t wanted,
                           ReadInteger(*size, "binary_data_size", 0, std::numeric_limits<int64_t>::max()));
  const auto bytes = binary->Take(static_cast<uint64_t>(wanted));
  if (!bytes)
    return InvalidArgument("input '" + tensor->name + "': binary_data_size is more than the body has");
  return SplitBytes(*bytes, tensor->name, &tensor->values);
}

Result<StringTensor> ReadInput(const Json& input, Binary* binary) {
  if (!input.is_object()) return InvalidArgument("`inputs` must hold objects");
  StringTensor tensor;
  RERANKD_ASSIGN_OR_RETURN(tensor.name, RequiredString(input, "name"));
  RERANKD_ASSIGN_OR_RETURN(const std::string datatype, RequiredString(input, "datatype"));
  if (datatype != "BYTES")
    return InvalidArgument("input '" + tensor.name + "': `datatype` must be BYTES, not '" + datatype + "'");
  RERANKD_ASSIGN_OR_RETURN(const int64_t expected, ReadShape(input, tensor.name));
  RERANKD_RETURN_IF_ERROR(ReadValues(input, binary, &tensor));
  if (static_cast<int64_t>(tensor.values.size()) != expected)
    return InvalidArgument("input '" + tensor.name + "' has " + std::to_string(tensor.values.size()) +
                           " values, its shape says " + std::to_string(expected));
  return tensor;
}

Result<bool> BinaryWanted(const Json& object, const char* key, bool fallback) {
  const Json* parameters = Find(object, "parameters");
  if (parameters == nullptr) return fallback;
  if (!parameters->is_object()) return InvalidArgument("`parameters` must be an object");
  return OptionalBool(*parameters, key, fallback);
}

Status ReadOutputs(const Json& body, InferCall* call) {
  RERANKD_ASSIGN_OR_RETURN(call->binary_by_default, BinaryWanted(body, "binary_data_output", false));
  const Json* outputs = Find(body, "outputs");
  if (outputs == nullptr) return {};
  if (!outputs->is_array()) return InvalidArgument("`outputs` must be a list");
  for (const Json& item : *outputs) {
    if (!item.is_object()) return InvalidArgument("`outputs` must hold objects");
    RequestedOutput output;
    RERANKD_ASSIGN_OR_RETURN(output.name, RequiredString(item, "name"));
    RERANKD_ASSIGN_OR_RETURN(output.binary, BinaryWanted(item, "binary_data", call->binary_by_default));
    call->outputs.push_back(std::move(output));
  }
  return {};
}

Status ReadInputs(const Json& body, std::string_view binary_part, InferCall* call) {
  const Json* inputs = Find(body, "inputs");
  if (inputs == nullptr || !inputs->is_array() || inputs->empty())
    return InvalidArgument("`inputs` must be a list of at least 1 tensor");
  Binary binary(binary_part);
  for (const Json& item : *inputs) {
    RERANKD_ASSIGN_OR_RETURN(StringTensor tensor, ReadInput(item, &binary));
    if (call->Find(tensor.name) != nullptr)
      return InvalidArgument("input '" + tensor.name + "' is there twice");
    call->inputs.push_back(std::move(tensor));
  }
  if (!binary.empty()) return InvalidArgument("the body has binary data that no input claims");
  return {};
}

}  // namespace

const StringTensor* InferCall::Find(std::string_view name) const {
  const auto found = std::find_if(inputs.begin(), inputs.end(),
                                  [&](const StringTensor& input) { return input.name == name; });
  return found == inputs.end() ? nullptr : &*found;
}

Result<InferCall> ParseInferCall(std::string_view body, std::optional<size_t> json_bytes) {
  if (json_bytes.value_or(0) > body.size())
    return InvalidArgument("inference-header-content-length is more than the body has");
  const size_t split = json_bytes.value_or(body.size());
  RERANKD_ASSIGN_OR_RETURN(const Json json, ParseObject(body.substr(0, split)));
  InferCall call;
  if (const Json* id = Find(json, "id")) {
    if (!id->is_string()) return InvalidArgument("`id` must be a string");
    call.id = id->get<std::string>();
  }
  if (const Json* parameters = Find(json, "parameters")) {
    if (!parameters->is_object()) return InvalidArgument("`parameters` must be an object");
    call.parameters = *parameters;
  }
  RERANKD_RETURN_IF_ERROR(ReadInputs(json, body.substr(split), &call));
  RERANKD_RETURN_IF_ERROR(ReadOutputs(json, &call));
  return call;
}

OutputTensor Fp32Tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values) {
  OutputTensor tensor = {std::move(name), "FP32", std::move(shape), Json::array(), ""};
  for (const float value : values) {
    tensor.data.push_back(ScoreJson(value));
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    AppendLittleEndian32(bits, &tensor.bytes);
  }
  return tensor;
}

OutputTensor Int32Tensor(std::string name, std::span<const int32_t> values) {
  OutputTensor tensor = {std::move(name), "INT32", {static_cast<int64_t>(values.size())}, Json::array(), ""};
  for (const int32_t value : values) {
    tensor.data.push_back(value);
    AppendLittleEndian32(static_cast<uint32_t>(value), &tensor.bytes);
  }
  return tensor;
}

OutputTensor BoolTensor(std::string name, std::span<const uint8_t> values) {
  OutputTensor tensor = {std::move(name), "BOOL", {static_cast<int64_t>(values.size())}, Json::array(), ""};
  for (const uint8_t value : values) {
    tensor.data.push_back(value != 0);
    tensor.bytes.push_back(value != 0 ? 1 : 0);
  }
  return tensor;
}

Status CheckOutputs(const InferCall& call) {
  for (const RequestedOutput& output : call.outputs)
    if (std::find(std::begin(kOutputs), std::end(kOutputs), output.name) == std::end(kOutputs))
      return InvalidArgument("no output '" + output.name + "': there are scores, tokens and truncated");
  return {};
}

InferBody FormatInferReply(const InferCall& call, const std::string& model,
                           std::span<const OutputTensor> all) {
  std::vector<RequestedOutput> chosen = call.outputs;
  if (chosen.empty())
    for (const OutputTensor& output : all) chosen.push_back({output.name, call.binary_by_default});
  Json json = {{"model_name", model}};
  if (call.id) json["id"] = *call.id;
  json["outputs"] = Json::array();
  InferBody body;
  std::string binary;
  for (const RequestedOutput& wanted : chosen) {
    const auto output = std::find_if(all.begin(), all.end(),
                                     [&](const OutputTensor& tensor) { return tensor.name == wanted.name; });
    if (output == all.end()) continue;  // refused by CheckOutputs
    Json item = {{"name", output->name}, {"datatype", output->datatype}, {"shape", output->shape}};
    if (wanted.binary) {
      item["parameters"] = {{"binary_data_size", output->bytes.size()}};
      binary += output->bytes;
      body.has_binary = true;
    } else {
      item["data"] = output->data;
    }
    json["outputs"].push_back(std::move(item));
  }
  body.text = Dump(json);
  body.json_bytes = body.text.size();
  body.text += binary;
  return body;
}

}  // namespace rerankd::serving
