// The narrow interface of matrix products: y = post(x W^T + b) with W packed once at load, in fp32, bf16 or
// int8. Two providers: our own kernels and oneDNN (fp32 only). Immutable after construction: every call is
// thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "kernels/buffer.h"
#include "kernels/kernel_set.h"

namespace rerankd {

enum class GemmProvider { kOwn, kOneDnn };

std::string_view GemmProviderName(GemmProvider provider);  // "own", "onednn"
std::string_view PrecisionName(Precision precision);       // "fp32", "bf16", "int8"

// "own", "onednn"; empty = own. kInvalidArgument for another name; kFailedPrecondition for oneDNN if this
// build has none or `kernels` is a set that it would not obey (RERANKD_ISA names the sets).
Result<GemmProvider> ChooseGemm(std::string_view name, const KernelSet& kernels);
// ChooseGemm of the environment variable RERANKD_GEMM.
Result<GemmProvider> ChooseGemmFromEnvironment(const KernelSet& kernels);

// As fp32, or as int8 with a scale for each output row: codes are then set and `weight` is empty.
struct LinearWeights {
  std::span<const float> weight;  // [outputs, inputs], row-major
  std::span<const float> bias;    // [outputs]
  int outputs = 0;
  int inputs = 0;
  PostOp post = PostOp::kNone;
  std::span<const int8_t> codes = {};  // [outputs, inputs]; for int8 products only
  std::span<const float> scales = {};  // [outputs]
};

// Bytes of a code as products of that precision read it; 0 for fp32, which reads no codes.
int CodeBytes(const KernelSet& kernels, Precision precision);

// Rows of activations: fp32 and, for int8 and bf16 products, the same rows as codes.
struct Rows {
  float* values = nullptr;
  long stride = 0;  // in floats
  CodedRows coded = {};

  Rows From(int row) const {
    Rows rest = *this;
    rest.values += row * stride;
    if (coded.codes != nullptr)
      rest.coded = {coded.codes + row * coded.stride, coded.stride, coded.scales + row, coded.zeros + row,
                    coded.precision};
    return rest;
  }
};

class Linear {
 public:
  virtual ~Linear() = default;

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }

  // c[i, 0..outputs) for i < rows from a[i, 0..inputs): from its codes unless the product is fp32, then from
  // its values. ldc counts floats; a and c do not overlap. A row of c depends on its row of a alone, bit for
  // bit.
  virtual void Run(const Rows& a, int rows, float* c, long ldc) const = 0;

 protected:
  Linear(int inputs, int outputs) : inputs_(inputs), outputs_(outputs) {}

 private:
  int inputs_, outputs_;
};

// Where and for whom weights are packed. `arena` outlives what is made in it.
struct GemmTarget {
  const KernelSet* kernels = nullptr;
  GemmProvider provider = GemmProvider::kOwn;
  Arena* arena = nullptr;
  Precision precision = Precision::kFp32;
};

// Copies the weights into the target's arena. kInternal if oneDNN fails or offers only its reference code,
// kFailedPrecondition if it is to multiply anything but fp32, or for bf16 if the kernel set has no such
// products.
Result<std::unique_ptr<const Linear>> MakeLinear(const LinearWeights& weights, const GemmTarget& target);

}  // namespace rerankd
