#include "kernels/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <string>

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

  void Run(const float* a, long lda, int rows, float* c, long ldc) const override {
    kernels_->gemm({a, lda, c, ldc, panels_, bias_, rows, outputs(), inputs(), post_});
  }

 private:
  const KernelSet* kernels_;
  PostOp post_;
  const float* panels_;
  const float* bias_;
};

}  // namespace

std::string_view GemmProviderName(GemmProvider provider) {
  return provider == GemmProvider::kOwn ? "own" : "onednn";
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
