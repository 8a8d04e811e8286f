#include "config/precision.h"

#include <fmt/format.h>

#include "config/reference_keys.h"
#include "config/setting_table.h"

namespace rerankd {
namespace {

const ConfigValue* Find(const PrecisionKeys& keys, const std::string& field) {
  const auto it = keys.find(field);
  return it == keys.end() ? nullptr : &it->second;
}

// The functions below give an empty string when their keys say nothing.

// Reads a key through a row of the right type, so that its errors read like those of any other key.
Result<bool> ReadBool(const std::string& field, const ConfigValue& value) {
  SettingRow row = *FindSetting("batching.enabled");
  row.key = "model." + field;
  bool parsed = false;
  RERANKD_RETURN_IF_ERROR(ParseSetting(row, value, &parsed));
  return parsed;
}

Result<std::string> ReadName(const std::string& field, const ConfigValue& value) {
  SettingRow row = *FindSetting("model.precision");
  row.key = "model." + field;
  std::string parsed;
  RERANKD_RETURN_IF_ERROR(ParseSetting(row, value, &parsed));
  return parsed;
}

Result<std::string> FromFlag(const PrecisionKeys& keys, const std::string& field) {
  const ConfigValue* value = Find(keys, field);
  if (value == nullptr) return std::string();
  RERANKD_ASSIGN_OR_RETURN(const bool half, ReadBool(field, *value));
  return std::string(half ? "fp16" : "fp32");
}

Result<std::string> FromName(const PrecisionKeys& keys, const std::string& field) {
  const ConfigValue* value = Find(keys, field);
  if (value == nullptr) return std::string();
  return ReadName(field, *value);
}

Result<std::string> FromBits(const PrecisionKeys& keys) {
  const ConfigValue* value = Find(keys, "mlx.bits");
  if (value == nullptr) return std::string();
  static const std::map<std::string, std::string> kBits = {
      {"32", "fp32"}, {"16", "fp16"}, {"8", "int8"}, {"4", "int4"}};
  const auto it = kBits.find(value->is_list ? "" : value->scalar());
  if (it == kBits.end())
    return InvalidArgument(fmt::format("{}: model.mlx.bits must be 4, 8, 16 or 32", value->where));
  return it->second;
}

// The option block of the backend that runs; the blocks of the other backends say nothing about this one.
Result<std::string> FromBackendBlock(const PrecisionKeys& keys, const std::string& backend) {
  if (backend == "mps") return FromFlag(keys, "mps.fp16");
  if (backend == "compiled") return FromFlag(keys, "compiled.fp16");
  if (backend == "mlx") return FromBits(keys);
  return std::string();
}

// quantized / quantization_mode. `quantized: false` with mode fp16 is what every file inherits from the
// reference base file; it asks for nothing, so a backend block may speak.
Result<std::string> FromQuantizedPair(const PrecisionKeys& keys, const std::string& backend) {
  RERANKD_ASSIGN_OR_RETURN(const std::string mode, FromName(keys, "quantization_mode"));
  bool quantized = false;
  if (const ConfigValue* value = Find(keys, "quantized")) {
    RERANKD_ASSIGN_OR_RETURN(quantized, ReadBool("quantized", *value));
  }
  if (quantized) return std::string(mode.empty() ? "fp16" : mode);
  if (!mode.empty() && mode != "fp16") return mode;
  RERANKD_ASSIGN_OR_RETURN(const std::string block, FromBackendBlock(keys, backend));
  return block.empty() ? mode : block;
}

Result<std::string> FromOlderKeys(const PrecisionKeys& keys, const std::string& backend) {
  RERANKD_ASSIGN_OR_RETURN(const std::string quantization, FromName(keys, "quantization"));
  if (!quantization.empty()) return quantization;
  RERANKD_ASSIGN_OR_RETURN(const std::string pair, FromQuantizedPair(keys, backend));
  if (!pair.empty()) return pair;
  return FromFlag(keys, "use_fp16");
}

}  // namespace

bool IsPrecisionField(const std::string& field) {
  if (field == "precision") return true;
  const ReferenceKey* key = FindReferenceKey("model." + field);
  return key != nullptr && key->kind == ReferenceKey::Kind::kPrecision;
}

Result<std::string> ResolvePrecision(const PrecisionKeys& keys, const std::string& backend) {
  RERANKD_ASSIGN_OR_RETURN(const std::string older, FromOlderKeys(keys, backend));
  RERANKD_ASSIGN_OR_RETURN(const std::string precision, FromName(keys, "precision"));
  const bool says = !precision.empty() && precision != "auto";
  if (says && !older.empty() && precision != older)
    return InvalidArgument(
        fmt::format("{}: model.precision is '{}' but the older keys say '{}'; remove one of them",
                    Find(keys, "precision")->where, precision, older));
  if (says) return precision;
  return std::string(older.empty() ? "auto" : older);
}

Status SettleInstance(InstanceSettings* instance, std::vector<std::string>* warnings) {
  if (instance->backend == "native" && instance->precision == "int4")
    return InvalidArgument("model.precision: backend 'native' has no int4; use int8, bf16 or fp32");
  if (instance->backend == "native" && instance->precision == "fp16")
    warnings->push_back(
        "model.precision: fp16 on backend 'native' runs as bf16 (fp32 on a CPU without bf16 arithmetic)");
  if (instance->backend == "native" && instance->device != "cpu") {
    warnings->push_back(
        fmt::format("model.device: backend 'native' runs on the CPU, not on '{}'", instance->device));
    instance->device = "cpu";
  }
  if (!instance->compile_mode.empty() && instance->backend != "compiled")
    warnings->push_back(fmt::format("model.compile_mode: no effect on backend '{}'; only 'compiled' reads it",
                                    instance->backend));
  const int group = instance->group_size;
  if (group != 32 && group != 64 && group != 128)
    return InvalidArgument(fmt::format("model.group_size: {} must be 32, 64 or 128", group));
  if (group != InstanceSettings().group_size && instance->backend != "mlx")
    warnings->push_back(
        fmt::format("model.group_size: no effect on backend '{}'; only 'mlx' reads it", instance->backend));
  return {};
}

}  // namespace rerankd
