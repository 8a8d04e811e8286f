// The encoder on MLX's operators.
#pragma once

#include <mlx/array.h>
#include <mlx/stream.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/encoder_weights.h"
#include "backends/padded_backend.h"
#include "backends/plugin.h"

namespace rerankd {

// What the weights are stored as and what the products of the layers are computed in.
struct MlxPrecision {
  mlx::core::Dtype type = mlx::core::float32;  // of activations and of weights that are not quantised
  int bits = 0;                                // of the weights of linear layers: 8, 4; 0 = those of `type`
  int group_size = 64;                         // inputs that share a scale and an offset
};

// Immutable once loaded; several threads may run it. Functions of MLX throw.
class MlxEncoder {
 public:
  // kFailedPrecondition: the group size does not divide the inputs of a layer.
  static Result<std::shared_ptr<const MlxEncoder>> Load(const std::string& directory,
                                                        const ModelConfig& config, MlxPrecision precision,
                                                        mlx::core::Device device);

  // Logits [rows, labels] as float32, not evaluated yet. `stream` belongs to the device of the encoder and to
  // the calling thread.
  mlx::core::array Forward(const PaddedBatch& in, mlx::core::Stream stream) const;

  mlx::core::Device device() const { return engine_.device; }
  int64_t bytes() const { return engine_.bytes; }  // of the weights

 private:
  // Makes MLX arrays of the weights (encoder_weights.h).
  struct Engine {
    using Tensor = std::optional<mlx::core::array>;
    struct Dense {
      Tensor weight;  // [inputs, outputs], a transposed view; codes of [outputs, inputs] where quantised
      Tensor scales, offsets;  // [outputs, inputs / group size] of codes
      Tensor bias;             // [outputs]
    };

    MlxPrecision precision;
    mlx::core::Device device;
    int64_t bytes = 0;

    Tensor Place(const std::vector<float>& values, const Shape& shape);
    Result<Dense> MakeDense(const DenseValues& values, bool head);
    mlx::core::array Keep(const mlx::core::array& value);
  };
  using Weights = EncoderWeights<Engine>;
  class Run;

  MlxEncoder(ModelConfig config, Engine engine) : config_(std::move(config)), engine_(engine) {}

  const ModelConfig config_;
  Engine engine_;
  Weights weights_;
};

}  // namespace rerankd
