// What the torch backends run: our encoder, or a package that was compiled from it.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "backends/plugin.h"
#include "base/status.h"
#include "weights/model_config.h"

namespace rerankd {

struct NetInputs {
  at::Tensor ids, types, mask;  // int64 [rows, longest] on the device of the net
  bool padded = false;          // does `mask` hold a zero?
};

// Immutable; several threads may run it. Functions of ATen throw.
class Net {
 public:
  virtual ~Net() = default;
  virtual at::Tensor Forward(const NetInputs& in) const = 0;  // logits [rows, labels], float32, on the device
  virtual int64_t bytes() const = 0;                          // of the weights
  virtual std::string details() const = 0;
};

using NetPointer = std::shared_ptr<const Net>;

// Precisions: fp32, bf16, fp16, and int8 on the CPU (a scale per output of the weights, per token of the
// activations).
Result<NetPointer> MakeEncoder(const PluginRequest& request, const ModelConfig& config, at::Device device,
                               const std::string& precision);

// The package <device>-<precision>-<mode>.pt2 that tools/export/compile.py writes: from the folder compiled/
// of the model, else from compiled/<name of the model's folder>/ beside the plugin. kFailedPrecondition names
// them.
Result<NetPointer> LoadCompiled(const PluginRequest& request, at::Device device,
                                const std::string& precision);

std::string TorchVersion();

}  // namespace rerankd
