// The encoder as an ONNX model: what engines that read ONNX run when a model folder brings no such file.
//
// Inputs input_ids, attention_mask, token_type_ids: int64 [batch, sequence]; output logits [batch, labels].
// Standard operators of opset 20 only. The last layer is computed for [CLS] alone (model/bert.h).
#pragma once

#include <string>

#include "base/status.h"
#include "weights/model_config.h"
#include "weights/tensor_source.h"

namespace rerankd {

enum class OnnxProducts {
  kFloat,
  // Matrices of the encoder as 8-bit codes with a scale per output channel; activations are quantised per
  // tensor when they are known (DynamicQuantizeLinear), so scores depend a little on the batch.
  kInt8,
  // The same codes, widened before they are multiplied: smaller, and close to fp32.
  kInt8Weights,
};

struct OnnxOptions {
  OnnxProducts products = OnnxProducts::kFloat;
  // kInt8: codes with zero point 128 instead of signed ones: exact on CPUs whose 8-bit products saturate
  // (AVX2).
  bool unsigned_codes = false;
};

// A serialised ModelProto (ONNX IR 10). Errors name the tensor at fault.
Result<std::string> BertOnnxModel(const ModelConfig& config, const TensorSource& source,
                                  const OnnxOptions& options);

}  // namespace rerankd
