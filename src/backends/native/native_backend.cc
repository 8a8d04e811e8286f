#include "backends/native/native_backend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "kernels/dispatch.h"
#include "model/bert.h"
#include "model/bert_cost.h"
#include "weights/model_config.h"
#include "weights/tensor_source.h"

namespace rerankd {
namespace {

// Tokens of a micro-batch: from here on the weights' stream through the cache costs nothing any more
// (docs/engine.md has the measurement).
constexpr int kBatchTokens = 256;

Result<const KernelSet*> Kernels(const NativeOptions& options) {
  return options.isa.empty() ? ChooseKernelsFromEnvironment() : ChooseKernels(options.isa);
}

Result<GemmProvider> Provider(const NativeOptions& options, const KernelSet& kernels) {
  return options.gemm.empty() ? ChooseGemmFromEnvironment(kernels) : ChooseGemm(options.gemm, kernels);
}

// What runs when `requested` is asked for.
Result<Precision> EffectivePrecision(const std::string& requested, const KernelSet& kernels) {
  if (requested == "auto") return kernels.int8.dot ? Precision::kInt8 : Precision::kFp32;
  if (requested == "fp32") return Precision::kFp32;
  if (requested == "int8") return Precision::kInt8;
  if (requested == "bf16" || requested == "fp16") {
    if (kernels.bf16_gemm != nullptr) return Precision::kBf16;
    Log(LogLevel::kWarning, "no products of bf16 on this CPU: running fp32",
        {{"requested", requested}, {"instruction set", kernels.name}});
    return Precision::kFp32;
  }
  if (requested == "int4")
    return FailedPrecondition(
        "the native backend has no int4 kernels; use precision auto, int8, bf16 or fp32");
  return InvalidArgument("unknown precision \"" + requested + "\"; known: auto, fp32, bf16, fp16, int8");
}

BackendCaps CapsOf(const NativeModel& model) {
  BackendCaps caps;
  caps.name = "native";
  caps.device = "cpu";
  caps.precision = std::string(model.precision());
  caps.details = std::string(model.weights()->kernels->name) + ", " +
                 std::string(GemmProviderName(model.weights()->provider)) + " gemm";
  caps.padded = false;
  caps.max_tokens = model.config().max_positions;
  caps.num_labels = model.config().num_labels;
  caps.batch_tokens = kBatchTokens;
  return caps;
}

}  // namespace

class NativeBackend final : public Backend {
 public:
  explicit NativeBackend(std::shared_ptr<const NativeModel> model)
      : model_(std::move(model)), caps_(CapsOf(*model_)), bert_(model_->weights(), kBatchTokens) {
    ++model_->instances_;
  }
  ~NativeBackend() override { --model_->instances_; }
  NativeBackend(const NativeBackend&) = delete;
  NativeBackend& operator=(const NativeBackend&) = delete;

  const BackendCaps& caps() const override { return caps_; }

  // Every page of the workspace that these lengths need is touched, and the weights come into the cache.
  // Nothing is made for a length: what one full micro-batch touches is all that most requests need.
  Status Warmup(std::span<const int> lengths) override {
    if (lengths.empty()) return {};
    const int longest = std::clamp(*std::max_element(lengths.begin(), lengths.end()), 1,
                                   std::min(caps_.max_tokens, kBatchTokens));
    const std::vector<int32_t> ids(static_cast<size_t>(longest), 0);
    const std::vector<uint8_t> types(ids.size(), 0);
    Batch batch;
    for (int i = 0; i < std::max(1, kBatchTokens / longest); ++i) batch.Add({ids, types});
    std::vector<float> logits(static_cast<size_t>(batch.size() * caps_.num_labels));
    return Score(batch, CancelFlag(), logits, nullptr);
  }

  Status Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
               BatchStats* stats) override {
    const TimePoint start = SteadyClock::Get().Now();
    const size_t labels = static_cast<size_t>(caps_.num_labels);
    RERANKD_RETURN_IF_ERROR(CheckBatch(model_->config(), batch, logits.size()));
    std::span<const EncodedPair> rest = batch.pairs();
    while (!rest.empty()) {
      const size_t count = SliceSize(rest);
      RERANKD_RETURN_IF_ERROR(bert_.Forward(rest.first(count), cancel, logits.first(count * labels)));
      rest = rest.subspan(count);
      logits = logits.subspan(count * labels);
    }
    if (stats != nullptr)
      *stats = {ToMs(SteadyClock::Get().Now() - start), batch.tokens(), MultiplyAdds(batch)};
    return {};
  }

  BackendUsage usage() const override {
    const int64_t weights = model_->weights()->bytes() / std::max(1, model_->instances_.load());
    return {.host_bytes = weights + bert_.workspace_bytes()};
  }

 private:
  double MultiplyAdds(const Batch& batch) const {
    double sum = 0;
    for (const EncodedPair& pair : batch.pairs())
      sum += PairMultiplyAdds(model_->config(), static_cast<double>(pair.ids.size()));
    return sum;
  }

  // Pairs that run next: as many as fit the budget, one at least.
  static size_t SliceSize(std::span<const EncodedPair> pairs) {
    size_t count = 1, tokens = pairs[0].ids.size();
    while (count < pairs.size() && tokens + pairs[count].ids.size() <= size_t{kBatchTokens})
      tokens += pairs[count++].ids.size();
    return count;
  }

  std::shared_ptr<const NativeModel> model_;
  BackendCaps caps_;
  Bert bert_;
};

Result<std::shared_ptr<const NativeModel>> NativeModel::Load(const std::string& directory,
                                                             const NativeOptions& options) {
  RERANKD_ASSIGN_OR_RETURN(const KernelSet* kernels, Kernels(options));
  RERANKD_ASSIGN_OR_RETURN(const Precision precision, EffectivePrecision(options.precision, *kernels));
  RERANKD_ASSIGN_OR_RETURN(const GemmProvider provider, Provider(options, *kernels));
  RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory));
  RERANKD_ASSIGN_OR_RETURN(TensorSource source, TensorSource::Open(directory, config));
  RERANKD_ASSIGN_OR_RETURN(std::shared_ptr<const BertWeights> weights,
                           MakeBertWeights(config, std::move(source), *kernels, provider, precision));
  return std::make_shared<const NativeModel>(std::move(weights));
}

Result<std::shared_ptr<const NativeModel>> NativeModel::Load(const std::string& directory,
                                                             const std::string& precision) {
  return Load(directory, NativeOptions{.precision = precision, .isa = "", .gemm = ""});
}

std::unique_ptr<Backend> MakeNativeBackend(std::shared_ptr<const NativeModel> model) {
  return std::make_unique<NativeBackend>(std::move(model));
}

}  // namespace rerankd
