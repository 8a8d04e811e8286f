#include "backends/encoder_weights.h"

namespace rerankd {

Result<DenseValues> ReadDense(const TensorSource& source, const std::vector<std::string>& names,
                              int64_t outputs, int64_t inputs) {
  DenseValues dense{names.front(), outputs * static_cast<int64_t>(names.size()), inputs, {}, {}};
  for (const std::string& name : names) {
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> weight,
                             source.ReadFloats(name + ".weight", {outputs, inputs}));
    RERANKD_ASSIGN_OR_RETURN(const std::vector<float> bias, source.ReadFloats(name + ".bias", {outputs}));
    dense.weight.insert(dense.weight.end(), weight.begin(), weight.end());
    dense.bias.insert(dense.bias.end(), bias.begin(), bias.end());
  }
  return dense;
}

}  // namespace rerankd
