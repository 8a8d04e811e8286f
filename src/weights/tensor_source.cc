#include "weights/tensor_source.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "weights/float_convert.h"

namespace rerankd {
namespace {

// Elements of the file are little-endian and may be unaligned; this build runs on little-endian machines.
template <typename T>
T Load(std::span<const std::byte> bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

std::vector<float> ConvertF32(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

template <typename Convert>
std::vector<float> Convert16(std::span<const std::byte> bytes, Convert convert) {
  std::vector<float> values(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) values[i] = convert(Load<uint16_t>(bytes, i));
  return values;
}

std::vector<float> Dequantise(const Int8Matrix& matrix) {
  std::vector<float> values(matrix.values.size());
  for (size_t row = 0, i = 0; row < matrix.scales.size(); ++row) {
    for (int64_t column = 0; column < matrix.columns; ++column, ++i)
      values[i] = static_cast<float>(matrix.values[i]) * matrix.scales[row];
  }
  return values;
}

Status CheckFinite(const std::string& name, std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      return InvalidArgument("tensor '" + name + "' holds " + std::to_string(values[i]) + " at position " +
                             std::to_string(i) + ": the file is corrupt or its training diverged");
  }
  return {};
}

// Older checkpoints, converted from TensorFlow, call the LayerNorm parameters gamma and beta.
std::optional<std::string> LegacyName(std::string_view name) {
  const auto ends_with = [&](std::string_view end) { return name.ends_with(end); };
  if (ends_with("LayerNorm.weight")) return std::string(name.substr(0, name.size() - 6)) + "gamma";
  if (ends_with("LayerNorm.bias")) return std::string(name.substr(0, name.size() - 4)) + "beta";
  return std::nullopt;
}

constexpr std::string_view kPrefix = "bert.";

}  // namespace

Result<TensorSource> TensorSource::Open(const std::string& directory, const ModelConfig& config) {
  RERANKD_ASSIGN_OR_RETURN(SafeTensors tensors, SafeTensors::OpenDirectory(directory));
  return TensorSource(std::move(tensors), config.storage);
}

const TensorView* TensorSource::Find(std::string_view name) const {
  const auto find_spelling = [&](std::string_view spelling) -> const TensorView* {
    if (const TensorView* view = tensors_.Find(spelling)) return view;
    const auto legacy = LegacyName(spelling);
    return legacy ? tensors_.Find(*legacy) : nullptr;
  };
  if (const TensorView* view = find_spelling(name)) return view;
  return name.starts_with(kPrefix) ? find_spelling(name.substr(kPrefix.size())) : nullptr;
}

Result<const TensorView*> TensorSource::Get(std::string_view name, const Shape& shape) const {
  const TensorView* view = Find(name);
  if (view == nullptr)
    return NotFound("'" + tensors_.source() + "' has no tensor '" + std::string(name) + "' of shape " +
                    ShapeText(shape) + ": are these the weights of a BertForSequenceClassification?");
  if (view->shape != shape)
    return InvalidArgument("'" + tensors_.source() + "': tensor '" + view->name + "' has shape " +
                           ShapeText(view->shape) + ", but config.json asks for " + ShapeText(shape));
  return view;
}

Result<std::vector<float>> TensorSource::ReadFloats(std::string_view name, const Shape& shape) const {
  RERANKD_ASSIGN_OR_RETURN(const TensorView* view, Get(name, shape));
  std::vector<float> values;
  switch (view->dtype) {
    case Dtype::kF32:
      values = ConvertF32(view->bytes);
      break;
    case Dtype::kF16:
      values = Convert16(view->bytes, FloatFromF16);
      break;
    case Dtype::kBf16:
      values = Convert16(view->bytes, FloatFromBf16);
      break;
    case Dtype::kI8: {
      RERANKD_ASSIGN_OR_RETURN(const Int8Matrix matrix, ReadInt8(name, shape));
      values = Dequantise(matrix);
      break;
    }
    case Dtype::kOther:
      return FailedPrecondition("'" + tensors_.source() + "': tensor '" + view->name + "' is stored as " +
                                view->dtype_name + "; supported are F32, F16, BF16 and rerankd-int8");
  }
  tensors_.Release(*view);
  RERANKD_RETURN_IF_ERROR(CheckFinite(view->name, values).WithContext("'" + tensors_.source() + "'"));
  return values;
}

void TensorSource::Release(std::string_view name) const {
  if (const TensorView* view = Find(name)) tensors_.Release(*view);
}

bool TensorSource::IsInt8(std::string_view name) const {
  const TensorView* view = Find(name);
  return view != nullptr && view->dtype == Dtype::kI8;
}

Result<std::vector<float>> TensorSource::ReadScales(const TensorView& matrix) const {
  RERANKD_ASSIGN_OR_RETURN(const TensorView* scales, Get(matrix.name + "_scale", {matrix.shape[0]}));
  if (scales->dtype != Dtype::kF32)
    return InvalidArgument("'" + tensors_.source() + "': tensor '" + scales->name + "' is stored as " +
                           scales->dtype_name + ", but scales are F32");
  std::vector<float> values = ConvertF32(scales->bytes);
  RERANKD_RETURN_IF_ERROR(CheckFinite(scales->name, values).WithContext("'" + tensors_.source() + "'"));
  for (const float value : values) {
    if (value < 0)
      return InvalidArgument("'" + tensors_.source() + "': tensor '" + scales->name +
                             "' holds the negative scale " + std::to_string(value));
  }
  return values;
}

Result<Int8Matrix> TensorSource::ReadInt8(std::string_view name, const Shape& shape) const {
  RERANKD_ASSIGN_OR_RETURN(const TensorView* view, Get(name, shape));
  if (storage_ != WeightStorage::kInt8)
    return FailedPrecondition(
        "'" + tensors_.source() + "': tensor '" + view->name +
        "' is stored as I8, but config.json has no quantization_config with quant_method "
        "\"rerankd-int8\"");
  if (view->dtype != Dtype::kI8 || shape.size() != 2)
    return InvalidArgument("'" + tensors_.source() + "': tensor '" + view->name + "' is stored as " +
                           view->dtype_name + " " + ShapeText(shape) + ", not as an int8 matrix");
  RERANKD_ASSIGN_OR_RETURN(std::vector<float> scales, ReadScales(*view));
  Int8Matrix matrix;
  matrix.rows = shape[0];
  matrix.columns = shape[1];
  matrix.values = {reinterpret_cast<const int8_t*>(view->bytes.data()), view->bytes.size()};
  matrix.scales = std::move(scales);
  return matrix;
}

}  // namespace rerankd
