// The weights of one model by their Hugging Face names, whatever their storage: F32, F16, BF16 or our int8.
// Names are those of BertForSequenceClassification ("bert.encoder.layer.0.output.dense.weight"); files that
// leave out "bert." or say LayerNorm.gamma/beta are read too. Tensors that nobody asks for are ignored.
// Errors name the tensor, the expected and the found shape. Thread-safe.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "weights/model_config.h"
#include "weights/safetensors.h"

namespace rerankd {

using Shape = std::vector<int64_t>;

// A matrix stored as int8: value[r][c] = values[r * columns + c] * scales[r]. A view into the mapped file.
struct Int8Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::span<const int8_t> values;  // [rows x columns], row-major
  std::vector<float> scales;       // [rows], finite and not negative
};

class TensorSource {
 public:
  // The weights of a model folder, stored as config.storage says.
  static Result<TensorSource> Open(const std::string& directory, const ModelConfig& config);
  TensorSource(SafeTensors tensors, WeightStorage storage)
      : tensors_(std::move(tensors)), storage_(storage) {}

  // A copy of all values as float, dequantised where stored as int8. Values that are not finite are an error.
  Result<std::vector<float>> ReadFloats(std::string_view name, const Shape& shape) const;

  // Is `name` stored as int8? False where it is absent.
  bool IsInt8(std::string_view name) const;
  // The stored rows and scales of a matrix for which IsInt8 holds. `shape` = [rows, columns].
  Result<Int8Matrix> ReadInt8(std::string_view name, const Shape& shape) const;

  // Gives back the memory that reading a tensor took, for what was copied or will be read again in parts
  // only. Views of it stay good.
  void Release(std::string_view name) const;

  // The stored bytes, as checked against `shape`.
  Result<const TensorView*> Get(std::string_view name, const Shape& shape) const;

  const SafeTensors& tensors() const { return tensors_; }

 private:
  const TensorView* Find(std::string_view name) const;
  Result<std::vector<float>> ReadScales(const TensorView& matrix) const;

  SafeTensors tensors_;
  WeightStorage storage_;
};

}  // namespace rerankd
