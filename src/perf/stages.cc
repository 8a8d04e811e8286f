#include "perf/stages.h"

#include <array>
#include <span>
#include <utility>

#include "base/clock.h"
#include "core/encoding.h"
#include "kernels/dispatch.h"
#include "kernels/peak.h"
#include "model/bert.h"
#include "model/bert_cost.h"

namespace rerankd::perf {
namespace {

constexpr std::array<const char*, kStages> kNames = {
    "embedding", "query, key, value", "attention", "attention output",
    "norm",      "intermediate",      "output",    "codes",
    "head"};

Result<std::shared_ptr<const BertWeights>> LoadWeights(const StageOptions& options) {
  RERANKD_ASSIGN_OR_RETURN(const KernelSet* kernels, ChooseKernelsFromEnvironment());
  RERANKD_ASSIGN_OR_RETURN(const GemmProvider provider, ChooseGemmFromEnvironment(*kernels));
  RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(options.directory));
  RERANKD_ASSIGN_OR_RETURN(TensorSource source, TensorSource::Open(options.directory, config));
  return MakeBertWeights(config, std::move(source), *kernels, provider, options.precision);
}

Result<EncodedPairs> Encode(const StageOptions& options, const Workload& workload) {
  EncodedPairs pairs;
  std::vector<int32_t> query;
  for (const ScoreRequest& request : workload.requests) {
    uint32_t encoded = UINT32_MAX;
    for (const Document& document : request.documents) {
      if (document.query != std::exchange(encoded, document.query)) {
        query.clear();
        options.tokenizer->EncodeText(request.queries[document.query], false, &query);
      }
      RERANKD_RETURN_IF_ERROR(
          options.tokenizer->AppendPair(query, document.text, options.pair_options, &pairs));
    }
  }
  return pairs;
}

std::vector<std::vector<EncodedPair>> CutBatches(const EncodedPairs& pairs, int batch_tokens) {
  std::vector<std::vector<EncodedPair>> batches;
  int tokens = batch_tokens;  // starts a batch
  for (int i = 0; i < pairs.size(); ++i) {
    if (tokens + pairs.length(i) > batch_tokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(pairs[i]);
    tokens += pairs.length(i);
  }
  return batches;
}

StageTime& Find(StageProfile* profile, const std::string& name) {
  for (StageTime& stage : profile->stages)
    if (stage.stage == name) return stage;
  profile->stages.push_back({name, {}, {}});
  return profile->stages.back();
}

std::array<double, kStages> MultiplyAdds(const ModelConfig& config, const EncodedPairs& pairs) {
  std::array<double, kStages> sum{};
  for (int i = 0; i < pairs.size(); ++i) {
    const std::array<double, kStages> one = StageMultiplyAdds(config, pairs.length(i));
    for (size_t stage = 0; stage < kStages; ++stage) sum[stage] += one[stage];
  }
  return sum;
}

Status RunRound(const StageOptions& options, const Workload& workload, const BertWeights& weights, Bert* bert,
                StageProfile* profile) {
  const KernelSet& kernels = *weights.kernels;
  const double peak = MeasurePeak(kernels, profile->precision, 1);
  const double fp32_peak = MeasurePeak(kernels, "fp32", 1);
  const TimePoint start = SteadyClock::Get().Now();
  RERANKD_ASSIGN_OR_RETURN(const EncodedPairs pairs, Encode(options, workload));
  const double encoding = ToSeconds(SteadyClock::Get().Now() - start);
  profile->pairs = pairs.size();
  profile->tokens = pairs.tokens();
  const double tokens = static_cast<double>(pairs.tokens());
  Find(profile, "tokens").us_per_token.push_back(encoding * 1e6 / tokens);

  StageClock clock;
  bert->set_clock(&clock);
  for (const auto& batch : CutBatches(pairs, options.batch_tokens)) {
    std::vector<float> logits(batch.size() * static_cast<size_t>(bert->config().num_labels));
    RERANKD_RETURN_IF_ERROR(bert->Forward(batch, CancelFlag(), logits));
  }
  bert->set_clock(nullptr);
  const std::array<double, kStages> work = MultiplyAdds(bert->config(), pairs);
  for (size_t i = 0; i < kStages; ++i) {
    const double seconds = ToSeconds(clock.time(static_cast<Stage>(i)));
    if (seconds == 0) continue;
    StageTime& stage = Find(profile, kNames[i]);
    stage.us_per_token.push_back(seconds * 1e6 / tokens);
    const double reachable = static_cast<Stage>(i) == Stage::kAttention ? fp32_peak : peak;
    if (work[i] > 0) stage.share_of_peak.push_back(work[i] / seconds / reachable);
  }
  return {};
}

}  // namespace

Result<StageProfile> ProfileStages(const StageOptions& options, const Workload& workload) {
  RERANKD_ASSIGN_OR_RETURN(const auto weights, LoadWeights(options));
  Bert bert(weights, options.batch_tokens);
  StageProfile profile;
  profile.precision = std::string(PrecisionName(options.precision));
  profile.workload = workload.name;
  StageProfile warmup = profile;
  RERANKD_RETURN_IF_ERROR(RunRound(options, workload, *weights, &bert, &warmup));
  for (int round = 0; round < options.rounds; ++round)
    RERANKD_RETURN_IF_ERROR(RunRound(options, workload, *weights, &bert, &profile));
  return profile;
}

}  // namespace rerankd::perf
