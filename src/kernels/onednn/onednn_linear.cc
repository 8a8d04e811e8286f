#include "kernels/onednn/onednn_linear.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

namespace rerankd {
namespace {

using dnnl::memory;

// Every call of the primitive has this many rows, so that oneDNN never picks a kernel by the number of rows;
// a shorter rest is padded.
constexpr int kRows = 48;

const dnnl::engine& CpuEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// One stream and one padded chunk a thread.
struct ThreadState {
  ThreadState() : stream(CpuEngine()) { omp_set_num_threads(1); }
  dnnl::stream stream;
  std::vector<float> in, out;
};

ThreadState& ThisThread() {
  static thread_local ThreadState state;
  return state;
}

dnnl::primitive_attr Attributes(PostOp post) {
  dnnl::post_ops ops;
  if (post == PostOp::kGelu) ops.append_eltwise(1, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
  if (post == PostOp::kGeluTanh) ops.append_eltwise(1, dnnl::algorithm::eltwise_gelu_tanh, 0, 0);
  if (post == PostOp::kRelu) ops.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
  if (post == PostOp::kTanh) ops.append_eltwise(1, dnnl::algorithm::eltwise_tanh, 0, 0);
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  return attr;
}

class OneDnnLinear final : public Linear {
 public:
  OneDnnLinear(const LinearWeights& weights, Arena* arena) : Linear(weights.inputs, weights.outputs) {
    const int64_t n = weights.outputs, k = weights.inputs;
    const memory::desc a({kRows, k}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc w({k, n}, memory::data_type::f32, memory::format_tag::any);
    const memory::desc bias({1, n}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc c({kRows, n}, memory::data_type::f32, memory::format_tag::ab);
    desc_ = dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, w, bias, c), Attributes(weights.post),
                                         CpuEngine());
    primitive_ = dnnl::matmul(desc_);
    weight_ = arena->Floats(desc_.weights_desc().get_size() / sizeof(float)).data();
    bias_ = arena->Floats(static_cast<size_t>(n)).data();
    std::copy(weights.bias.begin(), weights.bias.end(), bias_);
    // [outputs, inputs] row-major is [inputs, outputs] column-major.
    memory from({{k, n}, memory::data_type::f32, memory::format_tag::ba}, CpuEngine(),
                const_cast<float*>(weights.weight.data()));
    memory to(desc_.weights_desc(), CpuEngine(), weight_);
    dnnl::reorder(from, to).execute(ThisThread().stream, from, to);
    ThisThread().stream.wait();
  }

  std::string implementation() const { return desc_.impl_info_str(); }

  void Run(const Rows& a, int rows, float* c, long ldc) const override {
    const bool dense = a.stride == inputs() && ldc == outputs();
    for (int row = 0; row < rows; row += kRows) {
      const int count = std::min(kRows, rows - row);
      const float* from = a.values + row * a.stride;
      if (dense && count == kRows) {
        Execute(from, c + row * ldc);
      } else {
        RunPadded(from, a.stride, count, c + row * ldc, ldc);
      }
    }
  }

 private:
  void Execute(const float* a, float* c) const {
    ThreadState& thread = ThisThread();
    primitive_.execute(
        thread.stream,
        {{DNNL_ARG_SRC, memory(desc_.src_desc(), CpuEngine(), const_cast<float*>(a))},
         {DNNL_ARG_WEIGHTS, memory(desc_.weights_desc(), CpuEngine(), weight_)},
         {DNNL_ARG_BIAS, memory(desc_.query_md(dnnl::query::weights_md, 1), CpuEngine(), bias_)},
         {DNNL_ARG_DST, memory(desc_.dst_desc(), CpuEngine(), c)}});
  }

  void RunPadded(const float* a, long lda, int rows, float* c, long ldc) const {
    ThreadState& thread = ThisThread();
    thread.in.assign(static_cast<size_t>(kRows) * static_cast<size_t>(inputs()), 0.0F);
    thread.out.resize(static_cast<size_t>(kRows) * static_cast<size_t>(outputs()));
    for (int r = 0; r < rows; ++r)
      std::copy_n(a + r * lda, inputs(), thread.in.data() + static_cast<long>(r) * inputs());
    Execute(thread.in.data(), thread.out.data());
    for (int r = 0; r < rows; ++r)
      std::copy_n(thread.out.data() + static_cast<long>(r) * outputs(), outputs(), c + r * ldc);
  }

  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
  float* weight_ = nullptr;
  float* bias_ = nullptr;
};

}  // namespace

bool OneDnnUses(const KernelSet& kernels) {
  const std::string name = kernels.name;
  if (name == "avx2" || name == "avxvnni") {  // fp32 is the same for both
    dnnl::set_max_cpu_isa(
        dnnl::cpu_isa::avx2);  // refused once oneDNN has started; then the answer below counts
    return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx2;
  }
  const int avx512 = static_cast<int>(dnnl::cpu_isa::avx512_core);
  return (name == "avx512" || name == "avx512vnni") &&
         (static_cast<int>(dnnl::get_effective_cpu_isa()) & avx512) == avx512;
}

Result<std::unique_ptr<const Linear>> MakeOneDnnLinear(const LinearWeights& weights,
                                                       const GemmTarget& target) {
  try {
    auto linear = std::make_unique<const OneDnnLinear>(weights, target.arena);
    const std::string implementation = linear->implementation();
    if (implementation.find("ref") != std::string::npos) {
      return Internal("oneDNN offers only its reference code (" + implementation + ") for a product of " +
                      std::to_string(weights.outputs) + " x " + std::to_string(weights.inputs) +
                      "; use the GEMM provider own");
    }
    return std::unique_ptr<const Linear>(std::move(linear));
  } catch (const dnnl::error& error) {
    return Internal(std::string("oneDNN: ") + error.what() + "; use the GEMM provider own");
  }
}

}  // namespace rerankd
