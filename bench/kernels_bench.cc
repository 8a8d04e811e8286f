// Every kernel of every set that this machine runs, at the shapes of MiniLM-L6. Products and attention report
// their share of the multiply-add peak, measured right before each of them.
//   kernels_bench [--benchmark_filter=avx2/gemm …]
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/dispatch.h"
#include "kernels/gemm.h"

namespace rerankd {
namespace {

std::vector<float> Random(size_t count) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(engine);
  return values;
}

// Operations a second, with the instructions of that precision.
double Peak(const KernelSet& kernels, Precision precision) {
  const auto loop = precision == Precision::kInt8   ? kernels.int8_peak
                    : precision == Precision::kBf16 ? kernels.bf16_peak
                                                    : kernels.peak;
  long rounds = 10000;
  for (;; rounds *= 2) {
    const TimePoint start = SteadyClock::Get().Now();
    const double flops = loop(rounds);
    const double seconds = ToSeconds(SteadyClock::Get().Now() - start);
    if (seconds > 0.03) return flops / seconds;
  }
}

// Runs `step` until the library has seen enough; `flops` an iteration.
template <typename Step>
void Measure(benchmark::State& state, const KernelSet& kernels, Precision precision, double flops,
             const Step& step) {
  const double peak = Peak(kernels, precision);
  for (auto _ : state) step();
  const double done = flops * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(done * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(done / peak, benchmark::Counter::kIsRate);
}

struct GemmCase {
  const char* name;
  int outputs, inputs;
  PostOp post;
};

// How the product is made.
struct GemmKind {
  GemmProvider provider;
  Precision precision;
};

// Rows and the room of their codes.
struct CodedInput {
  std::vector<float> values, scales;
  std::vector<unsigned char> codes;
  std::vector<int> zeros;
  Rows rows;

  CodedInput(const KernelSet& kernels, Precision precision, int count, int width)
      : values(Random(static_cast<size_t>(count) * static_cast<size_t>(width))),
        scales(static_cast<size_t>(count)),
        zeros(static_cast<size_t>(count)) {
    const int stride =
        (width + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment * CodeBytes(kernels, precision);
    codes.resize(static_cast<size_t>(count) * static_cast<size_t>(stride));
    rows = {.values = values.data(), .stride = width};
    if (codes.empty()) return;
    rows.coded = {codes.data(), stride, scales.data(), zeros.data(), precision};
    kernels.encode({values.data(), count, width, rows.coded});
  }
};

void BenchGemm(benchmark::State& state, const KernelSet& kernels, GemmKind kind, GemmCase c) {
  const int rows = static_cast<int>(state.range(0));
  const size_t outputs = static_cast<size_t>(c.outputs), inputs = static_cast<size_t>(c.inputs);
  const std::vector<float> weight = Random(outputs * inputs), bias = Random(outputs);
  const CodedInput in(kernels, kind.precision, rows, c.inputs);
  std::vector<float> y(static_cast<size_t>(rows) * outputs);
  Arena arena;
  const auto linear = MakeLinear({weight, bias, c.outputs, c.inputs, c.post},
                                 {&kernels, kind.provider, &arena, kind.precision});
  if (!linear.ok()) return state.SkipWithError(linear.status().message().c_str());
  Measure(state, kernels, kind.precision, 2.0 * rows * c.outputs * c.inputs,
          [&] { (*linear)->Run(in.rows, rows, y.data(), c.outputs); });
}

void BenchAttention(benchmark::State& state, const KernelSet& kernels) {
  const int tokens = static_cast<int>(state.range(0)), heads = 12, size = 32, width = heads * size;
  const std::vector<float> qkv = Random(static_cast<size_t>(tokens) * 3 * width);
  std::vector<float> out(static_cast<size_t>(tokens) * width);
  Arena arena;
  float* scratch = arena.Floats(static_cast<size_t>(kernels.attention_scratch(tokens, size))).data();
  const AttentionArgs args = {qkv.data(),
                              3L * width,
                              qkv.data() + width,
                              qkv.data() + 2L * width,
                              3L * width,
                              out.data(),
                              width,
                              scratch,
                              tokens,
                              tokens,
                              heads,
                              size};
  Measure(state, kernels, Precision::kFp32, 4.0 * tokens * tokens * width, [&] { kernels.attention(args); });
}

// Row passes: time an element.
template <typename Step>
void MeasureElements(benchmark::State& state, double elements, const Step& step) {
  for (auto _ : state) step();
  const double done = elements * static_cast<double>(state.iterations());
  state.counters["ns/element"] =
      benchmark::Counter(done * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BenchSoftmax(benchmark::State& state, const KernelSet& kernels) {
  const int width = static_cast<int>(state.range(0));
  std::vector<float> rows = Random(64 * static_cast<size_t>(width));
  MeasureElements(state, 64.0 * width, [&] { kernels.softmax(rows.data(), 64, width); });
}

void BenchPostOp(benchmark::State& state, const KernelSet& kernels, PostOp op) {
  const std::vector<float> x = Random(1536);
  std::vector<float> y(x.size());
  MeasureElements(state, 1536, [&] {
    std::copy(x.begin(), x.end(), y.begin());
    kernels.post_op(op, y.data(), 1536);
  });
}

void BenchLayerNorm(benchmark::State& state, const KernelSet& kernels) {
  const int width = 384, rows = 42;
  const std::vector<float> x = Random(rows * width), residual = Random(rows * width), gamma = Random(width);
  std::vector<float> out(x.size());
  MeasureElements(state, rows * width, [&] {
    kernels.add_layer_norm(
        {x.data(), residual.data(), gamma.data(), gamma.data(), out.data(), rows, width, 1e-12F, {}});
  });
}

void BenchEmbed(benchmark::State& state, const KernelSet& kernels) {
  const int width = 384, tokens = 95, vocabulary = 30522;
  const std::vector<float> words = Random(static_cast<size_t>(vocabulary) * width),
                           positions = Random(512 * width), gamma = Random(width);
  std::vector<int> ids;
  std::mt19937 engine(3);
  for (int i = 0; i < tokens; ++i) ids.push_back(static_cast<int>(engine() % vocabulary));
  const std::vector<unsigned char> types(tokens, 1);
  std::vector<float> out(tokens * width);
  MeasureElements(state, tokens * width, [&] {
    kernels.embed({ids.data(),
                   types.data(),
                   {words.data(), nullptr, nullptr},
                   positions.data(),
                   positions.data(),
                   gamma.data(),
                   gamma.data(),
                   out.data(),
                   tokens,
                   width,
                   1e-12F,
                   {}});
  });
}

void RegisterSet(const KernelSet& kernels) {
  const std::string set = std::string(kernels.name) + "/";
  const auto add = [&](const std::string& name, const auto& run) {
    return benchmark::RegisterBenchmark((set + name).c_str(), run);
  };
  const GemmCase cases[] = {{"qkv", 1152, 384, PostOp::kNone},
                            {"output", 384, 384, PostOp::kNone},
                            {"ffn1_gelu", 1536, 384, PostOp::kGelu},
                            {"ffn1", 1536, 384, PostOp::kNone},
                            {"ffn2", 384, 1536, PostOp::kNone}};
  std::vector<GemmKind> kinds = {{GemmProvider::kOwn, Precision::kFp32},
                                 {GemmProvider::kOwn, Precision::kInt8}};
  if (kernels.bf16_gemm != nullptr) kinds.push_back({GemmProvider::kOwn, Precision::kBf16});
  if (ChooseGemm("onednn", kernels).ok()) kinds.push_back({GemmProvider::kOneDnn, Precision::kFp32});
  for (const GemmCase& c : cases) {
    for (const GemmKind kind : kinds) {
      const std::string what =
          std::string(GemmProviderName(kind.provider)) + "/" + std::string(PrecisionName(kind.precision));
      add("gemm/" + what + "/" + c.name, [&kernels, kind, c](auto& s) { BenchGemm(s, kernels, kind, c); })
          ->Arg(2)
          ->Arg(42)
          ->Arg(128)
          ->Arg(256);
    }
  }
  add("attention", [&](auto& s) { BenchAttention(s, kernels); })
      ->Arg(32)
      ->Arg(64)
      ->Arg(95)
      ->Arg(128)
      ->Arg(256)
      ->Arg(512);
  add("softmax", [&](auto& s) { BenchSoftmax(s, kernels); })->Arg(95)->Arg(512);
  add("gelu", [&](auto& s) { BenchPostOp(s, kernels, PostOp::kGelu); });
  add("gelu_tanh", [&](auto& s) { BenchPostOp(s, kernels, PostOp::kGeluTanh); });
  add("tanh", [&](auto& s) { BenchPostOp(s, kernels, PostOp::kTanh); });
  add("add_layer_norm", [&](auto& s) { BenchLayerNorm(s, kernels); });
  add("embed", [&](auto& s) { BenchEmbed(s, kernels); });
}

}  // namespace
}  // namespace rerankd

int main(int argc, char** argv) {
  for (const rerankd::KernelSet* kernels : rerankd::BuiltKernelSets()) {
    if (rerankd::Runs(*kernels)) rerankd::RegisterSet(*kernels);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
