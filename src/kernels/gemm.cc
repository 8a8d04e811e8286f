#include "kernels/gemm.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string>

#include "kernels/int8_weights.h"
#include "kernels/panels.h"
#ifdef RERANKD_ONEDNN
#include "kernels/onednn/onednn_linear.h"
#endif

namespace rerankd {
namespace {

// Nearest, ties to even; a file that stores bf16 loses nothing.
uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

const float* PaddedCopy(std::span<const float> values, size_t padded, Arena* arena) {
  const std::span<float> copy = arena->Floats(padded);
  std::copy(values.begin(), values.end(), copy.begin());
  return copy.data();
}

// fp32 or bf16 weights: T is how they are stored.
template <typename T>
class FloatLinear : public Linear {
 protected:
  template <typename Convert>
  FloatLinear(const LinearWeights& weights, const GemmTarget& target, int group, const Convert& convert)
      : Linear(weights.inputs, weights.outputs), kernels_(target.kernels), post_(weights.post) {
    const PanelShape shape = {kernels_->panel_width, group};
    const size_t size = PackedSize(weights.outputs, weights.inputs, shape);
    const std::span<T> panels(reinterpret_cast<T*>(target.arena->Bytes(size * sizeof(T)).data()), size);
    PackPanels(weights.weight, weights.outputs, weights.inputs, shape, convert, panels);
    panels_ = panels.data();
    bias_ = PaddedCopy(weights.bias, RoundUp(weights.outputs, shape.width), target.arena);
  }

  const KernelSet* kernels_;
  PostOp post_;
  const T* panels_;
  const float* bias_;
};

class Fp32Linear final : public FloatLinear<float> {
 public:
  Fp32Linear(const LinearWeights& weights, const GemmTarget& target)
      : FloatLinear(weights, target, 1, [](float w) { return w; }) {}

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    kernels_->gemm({a.values, a.stride, c, ldc, panels_, bias_, rows, outputs(), inputs(), post_});
  }
};

class Bf16Linear final : public FloatLinear<uint16_t> {
 public:
  Bf16Linear(const LinearWeights& weights, const GemmTarget& target)
      : FloatLinear(weights, target, kBf16Group, ToBf16) {}

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    kernels_->bf16_gemm({a.coded, c, ldc, panels_, bias_, rows, outputs(), inputs(), post_});
  }
};

class Int8Linear final : public Linear {
 public:
  Int8Linear(const LinearWeights& weights, const GemmTarget& target)
      : Linear(weights.inputs, weights.outputs), kernels_(target.kernels), post_(weights.post) {
    const PanelShape shape = {kernels_->int8.panel_width, kernels_->int8.group};
    const Int8Weights quantized = QuantizeWeights(weights);
    const std::span<int8_t> panels = target.arena->Bytes(PackedSize(weights.outputs, weights.inputs, shape));
    PackPanels(
        std::span(quantized.codes), weights.outputs, weights.inputs, shape, [](int8_t code) { return code; },
        panels);
    panels_ = panels.data();
    const size_t padded = RoundUp(weights.outputs, shape.width);
    bias_ = PaddedCopy(weights.bias, padded, target.arena);
    scales_ = PaddedCopy(quantized.scales, padded, target.arena);
    sums_ = Sums(quantized.codes, target.arena->Ints(padded));
  }

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    kernels_->int8_gemm({a.coded, c, ldc, panels_, scales_, sums_, bias_, rows, outputs(), inputs(), post_});
  }

 private:
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
  return precision == Precision::kFp32 ? "fp32" : precision == Precision::kBf16 ? "bf16" : "int8";
}

int CodeBytes(const KernelSet& kernels, Precision precision) {
  return precision == Precision::kFp32 ? 0 : precision == Precision::kBf16 ? 2 : kernels.int8.code_bytes;
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
  const KernelSet& kernels = *target.kernels;
  if (target.precision != Precision::kFp32 && target.provider != GemmProvider::kOwn)
    return FailedPrecondition("oneDNN multiplies fp32 only here; use the GEMM provider own for " +
                              std::string(PrecisionName(target.precision)));
  if (target.precision == Precision::kBf16 && kernels.bf16_gemm == nullptr)
    return FailedPrecondition("the instruction set " + std::string(kernels.name) +
                              " has no products in bf16; use fp32 or int8");
  using Made = std::unique_ptr<const Linear>;
  if (target.precision == Precision::kInt8) return Made(std::make_unique<Int8Linear>(weights, target));
  if (target.precision == Precision::kBf16) return Made(std::make_unique<Bf16Linear>(weights, target));
#ifdef RERANKD_ONEDNN
  if (target.provider == GemmProvider::kOneDnn) return MakeOneDnnLinear(weights, target);
#endif
  return Made(std::make_unique<Fp32Linear>(weights, target));
}

}  // namespace rerankd
