#include "serving/http/kserve_tensors.h"

#include <limits>
#include <utility>

namespace rerankd::serving {
namespace {

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

Result<std::vector<int64_t>> ReadShape(const Json& input, const std::string& name) {
  const Json* shape = Find(input, "shape");
  if (shape == nullptr || !shape->is_array())
    return InvalidArgument("input `" + name + "`: `shape` must be a list of integers");
  std::vector<int64_t> sizes;
  for (const Json& item : *shape) {
    RERANKD_ASSIGN_OR_RETURN(const int64_t size,
                             ReadInteger(item, "shape", 0, std::numeric_limits<int64_t>::max()));
    sizes.push_back(size);
  }
  return sizes;
}

// Nested or flat; nesting was bounded when the body was parsed.
Status Flatten(const Json& data, const std::string& name, std::vector<std::string>* out) {
  if (data.is_string()) {
    out->push_back(data.get<std::string>());
    return {};
  }
  if (!data.is_array())
    return InvalidArgument("input `" + name + "`: `data` must hold strings, not " + data.type_name());
  for (const Json& item : data) RERANKD_RETURN_IF_ERROR(Flatten(item, name, out));
  return {};
}

Result<std::vector<std::string>> ReadElements(const Json& input, const std::string& name, Binary* binary) {
  const Json* parameters = Find(input, "parameters");
  const bool has_parameters = parameters != nullptr && parameters->is_object();
  const Json* size = has_parameters ? Find(*parameters, "binary_data_size") : nullptr;
  if (size == nullptr) {
    const Json* data = Find(input, "data");
    if (data == nullptr) return InvalidArgument("input `" + name + "` has no `data`");
    std::vector<std::string> elements;
    RERANKD_RETURN_IF_ERROR(Flatten(*data, name, &elements));
    return elements;
  }
  RERANKD_ASSIGN_OR_RETURN(const int64_t wanted,
                           ReadInteger(*size, "binary_data_size", 0, std::numeric_limits<int64_t>::max()));
  const auto bytes = binary->Take(static_cast<uint64_t>(wanted));
  if (!bytes) return InvalidArgument("input `" + name + "`: binary_data_size is more than the body has");
  return SplitKserveBytes(name, *bytes);
}

Status ReadInput(const Json& input, Binary* binary, KserveCall* call) {
  if (!input.is_object()) return InvalidArgument("`inputs` must hold objects");
  KserveTensor tensor;
  RERANKD_ASSIGN_OR_RETURN(tensor.name, RequiredString(input, "name"));
  RERANKD_ASSIGN_OR_RETURN(tensor.datatype, RequiredString(input, "datatype"));
  RERANKD_ASSIGN_OR_RETURN(tensor.shape, ReadShape(input, tensor.name));
  RERANKD_ASSIGN_OR_RETURN(std::vector<std::string> elements, ReadElements(input, tensor.name, binary));
  return SetKserveInput(tensor, std::move(elements), call);
}

Status ReadInputs(const Json& body, std::string_view binary_part, KserveCall* call) {
  const Json* inputs = Find(body, "inputs");
  if (inputs == nullptr || !inputs->is_array() || inputs->empty())
    return InvalidArgument("`inputs` must be a list of at least 1 tensor");
  Binary binary(binary_part);
  for (const Json& item : *inputs) RERANKD_RETURN_IF_ERROR(ReadInput(item, &binary, call));
  if (!binary.empty()) return InvalidArgument("the body has binary data that no input claims");
  return {};
}

Result<KserveValue> ReadValue(const std::string& name, const Json& value) {
  if (value.is_boolean()) return KserveValue(value.get<bool>());
  if (value.is_string()) return KserveValue(value.get<std::string>());
  const bool too_large =
      value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int64_t>::max();
  if (value.is_number_integer() && !too_large) return KserveValue(value.get<int64_t>());
  if (value.is_number()) return KserveValue(value.get<double>());
  return InvalidArgument("parameter `" + name + "` must be a string, a number, true or false");
}

Status ReadParameters(const Json& body, InferCall* call) {
  const Json* parameters = Find(body, "parameters");
  if (parameters == nullptr) return {};
  if (!parameters->is_object()) return InvalidArgument("`parameters` must be an object");
  RERANKD_ASSIGN_OR_RETURN(call->binary_by_default, OptionalBool(*parameters, "binary_data_output", false));
  for (const auto& [name, value] : parameters->items()) {
    if (value.is_null()) continue;
    RERANKD_ASSIGN_OR_RETURN(const KserveValue given, ReadValue(name, value));
    RERANKD_RETURN_IF_ERROR(SetKserveParameter(name, given, &call->call));
  }
  return {};
}

Result<bool> BinaryWanted(const Json& output, bool fallback) {
  const Json* parameters = Find(output, "parameters");
  if (parameters == nullptr) return fallback;
  if (!parameters->is_object()) return InvalidArgument("`parameters` must be an object");
  return OptionalBool(*parameters, "binary_data", fallback);
}

Status ReadOutputs(const Json& body, InferCall* call) {
  const Json* outputs = Find(body, "outputs");
  if (outputs == nullptr) return {};
  if (!outputs->is_array()) return InvalidArgument("`outputs` must be a list");
  for (const Json& item : *outputs) {
    if (!item.is_object()) return InvalidArgument("`outputs` must hold objects");
    RERANKD_ASSIGN_OR_RETURN(std::string name, RequiredString(item, "name"));
    RERANKD_ASSIGN_OR_RETURN(const bool binary, BinaryWanted(item, call->binary_by_default));
    call->call.outputs.push_back(std::move(name));
    call->binary.push_back(binary);
  }
  return {};
}

Json Item(float value) { return ScoreJson(value); }
Json Item(int32_t value) { return value; }
Json Item(uint8_t value) { return value != 0; }

Json Data(const KserveOutput& output) {
  Json data = Json::array();
  std::visit(
      [&data](const auto& values) {
        for (const auto value : values) data.push_back(Item(value));
      },
      output.values);
  return data;
}

}  // namespace

Result<InferCall> ParseInferCall(const ModelInfo& model, std::string_view body,
                                 std::optional<size_t> json_bytes) {
  if (json_bytes.value_or(0) > body.size())
    return InvalidArgument("inference-header-content-length is more than the body has");
  const size_t split = json_bytes.value_or(body.size());
  RERANKD_ASSIGN_OR_RETURN(const Json json, ParseObject(body.substr(0, split)));
  InferCall call(model);
  if (const Json* id = Find(json, "id")) {
    if (!id->is_string()) return InvalidArgument("`id` must be a string");
    call.id = id->get<std::string>();
  }
  RERANKD_RETURN_IF_ERROR(ReadParameters(json, &call));
  RERANKD_RETURN_IF_ERROR(ReadInputs(json, body.substr(split), &call.call));
  RERANKD_RETURN_IF_ERROR(ReadOutputs(json, &call));
  return call;
}

InferBody FormatInferReply(const InferCall& call, std::span<const KserveOutput> outputs) {
  Json json = {{"model_name", call.call.model->name}};
  if (call.id) json["id"] = *call.id;
  json["outputs"] = Json::array();
  InferBody body;
  std::string binary;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const KserveTensor& tensor = outputs[i].tensor;
    Json item = {{"name", tensor.name}, {"datatype", tensor.datatype}, {"shape", tensor.shape}};
    if (call.binary.empty() ? call.binary_by_default : call.binary[i]) {
      item["parameters"] = {{"binary_data_size", outputs[i].raw().size()}};
      binary += outputs[i].raw();
      body.has_binary = true;
    } else {
      item["data"] = Data(outputs[i]);
    }
    json["outputs"].push_back(std::move(item));
  }
  body.text = Dump(json);
  body.json_bytes = body.text.size();
  body.text += binary;
  return body;
}

}  // namespace rerankd::serving
