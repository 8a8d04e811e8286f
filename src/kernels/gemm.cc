#include "kernels/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "kernels/int8_weights.h"
#ifdef RERANKD_ONEDNN
#include "kernels/onednn/onednn_linear.h"
#endif

namespace rerankd {
namespace {

int RoundUp(int value, int to) { return (value + to - 1) / to * to; }

class OwnLinear final : public Linear {
 public:
  OwnLinear(const LinearWeights& weights, const GemmTarget& target)
      : Linear(weights.inputs, weights.outputs), kernels_(target.kernels), post_(weights.post) {
    const int width = kernels_->panel_width;
    const std::span<float> panels = target.arena->Floats(PackedSize(weights.outputs, weights.inputs, width));
    PackPanels(weights.weight, weights.outputs, weights.inputs, width, panels);
    const std::span<float> bias = target.arena->Floats(static_cast<size_t>(RoundUp(weights.outputs, width)));
    std::copy(weights.bias.begin(), weights.bias.end(), bias.begin());
    panels_ = panels.data();
    bias_ = bias.data();
  }

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    kernels_->gemm({a.values, a.stride, c, ldc, panels_, bias_, rows, outputs(), inputs(), post_});
  }

 private:
  const KernelSet* kernels_;
  PostOp post_;
  const float* panels_;
  const float* bias_;
};

class Int8Linear final : public Linear {
 public:
  Int8Linear(const LinearWeights& weights, const GemmTarget& target)
      : Linear(weights.inputs, weights.outputs), kernels_(target.kernels), post_(weights.post) {
    const Int8Traits& traits = kernels_->int8;
    const Int8Weights quantized = QuantizeWeights(weights);
    const std::span<int8_t> panels =
        target.arena->Bytes(PackedInt8Size(weights.outputs, weights.inputs, traits));
    PackInt8(quantized.codes, weights.outputs, weights.inputs, traits, panels);
    panels_ = panels.data();
    const size_t padded = static_cast<size_t>(RoundUp(weights.outputs, traits.panel_width));
    bias_ = PaddedCopy(weights.bias, padded, target.arena);
    scales_ = PaddedCopy(quantized.scales, padded, target.arena);
    sums_ = Sums(quantized.codes, target.arena->Ints(padded));
  }

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    kernels_->int8_gemm({a.coded, c, ldc, panels_, scales_, sums_, bias_, rows, outputs(), inputs(), post_});
  }

 private:
  static const float* PaddedCopy(std::span<const float> values, size_t padded, Arena* arena) {
    const std::span<float> copy = arena->Floats(padded);
    std::copy(values.begin(), values.end(), copy.begin());
    return copy.data();
  }

  const int* Sums(std::span<const int8_t> codes, std::span<int> sums) const {
    for (size_t i = 0; i < codes.size(); ++i) sums[i / static_cast<size_t>(inputs())] += codes[i];
    return sums.data();
  }

  const KernelSet* kernels_;
  PostOp post_;
  const int8_t* panels_;
  const float* bias_;
  const float* scales_;
  const int* sums_;
};

}  // namespace

std::string_view GemmProviderName(GemmProvider provider) {
  return provider == GemmProvider::kOwn ? "own" : "onednn";
}

std::string_view PrecisionName(Precision precision) {
  return precision == Precision::kFp32 ? "fp32" : "int8";
}

Result<GemmProvider> ChooseGemm(std::string_view name, const KernelSet& kernels) {
  if (name.empty() || name == "own") return GemmProvider::kOwn;
  if (name != "onednn") {
    return InvalidArgument("unknown GEMM provider \"" + std::string(name) + "\"; known: own, onednn");
  }
#ifdef RERANKD_ONEDNN
  if (!OneDnnUses(kernels)) {
    return FailedPrecondition("oneDNN does not run as the instruction set " + std::string(kernels.name) +
                              " here; unset RERANKD_ISA or use the GEMM provider own");
  }
  return GemmProvider::kOneDnn;
#else
  (void)kernels;
  return FailedPrecondition(
      "this build has no oneDNN (cmake -DRERANKD_ONEDNN=ON); use the GEMM provider own");
#endif
}

Result<GemmProvider> ChooseGemmFromEnvironment(const KernelSet& kernels) {
  const char* name = std::getenv("RERANKD_GEMM");  // NOLINT(concurrency-mt-unsafe): nothing here sets it
  Result<GemmProvider> provider = ChooseGemm(name == nullptr ? "" : name, kernels);
  if (!provider.ok()) return provider.status().WithContext("RERANKD_GEMM");
  return provider;
}

Result<std::unique_ptr<const Linear>> MakeLinear(const LinearWeights& weights, const GemmTarget& target) {
  if (target.precision == Precision::kInt8) {
    if (target.provider != GemmProvider::kOwn)
      return FailedPrecondition("oneDNN multiplies fp32 only here; use the GEMM provider own for int8");
    return std::unique_ptr<const Linear>(std::make_unique<Int8Linear>(weights, target));
  }
#ifdef RERANKD_ONEDNN
  if (target.provider == GemmProvider::kOneDnn) return MakeOneDnnLinear(weights, target);
#endif
  return std::unique_ptr<const Linear>(std::make_unique<OwnLinear>(weights, target));
}

size_t PackedSize(int outputs, int inputs, int width) {
  return static_cast<size_t>(RoundUp(outputs, width)) * static_cast<size_t>(inputs);
}

void PackPanels(std::span<const float> weight, int outputs, int inputs, int width, std::span<float> panels) {
  std::fill(panels.begin(), panels.end(), 0.0F);
  for (int row = 0; row < outputs; ++row) {
    const float* from = weight.data() + static_cast<size_t>(row) * static_cast<size_t>(inputs);
    float* to =
        panels.data() + static_cast<size_t>(row / width * width) * static_cast<size_t>(inputs) + row % width;
    for (int k = 0; k < inputs; ++k) to[static_cast<size_t>(k) * static_cast<size_t>(width)] = from[k];
  }
}

}  // namespace rerankd
