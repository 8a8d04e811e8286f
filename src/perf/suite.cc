#include "perf/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "engine/ordered_scorer.h"
#include "kernels/dispatch.h"
#include "kernels/peak.h"
#include "model/bert_cost.h"

namespace rerankd::perf {
namespace {

struct Target {
  std::string precision;  // what really runs
  int threads;
  std::unique_ptr<Engine> engine;
  size_t peak;  // index into SuiteResult::peaks
};

// How one series is measured.
struct Job {
  const Target* target;
  Workload work;
  size_t in_flight;
};

struct Sample {
  int64_t pairs = 0, tokens = 0;
  double multiply_adds = 0, seconds = 0;
};

Result<Sample> Score(const Job& job, const ModelConfig& config) {
  Sample sample;
  OrderedScorer scorer(
      *job.target->engine,
      [&](const ScoreResult& result) {
        sample.pairs += static_cast<int64_t>(result.tokens.size());
        sample.tokens += result.counts.real;
        for (const int32_t tokens : result.tokens) sample.multiply_adds += PairMultiplyAdds(config, tokens);
        return Status();
      },
      job.in_flight);
  const TimePoint start = SteadyClock::Get().Now();
  for (const ScoreRequest& request : job.work.requests) RERANKD_RETURN_IF_ERROR(scorer.Push(request));
  RERANKD_RETURN_IF_ERROR(scorer.Finish());
  sample.seconds = ToSeconds(SteadyClock::Get().Now() - start);
  return sample;
}

Precision PrecisionOf(const std::string& name) {
  for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return Precision::kFp32;
}

class Suite {
 public:
  explicit Suite(const SuiteOptions& options) : options_(options) {}

  Result<SuiteResult> Run() {
    RERANKD_ASSIGN_OR_RETURN(kernels_, ChooseKernelsFromEnvironment());
    for (const std::string& precision : options_.precisions) RERANKD_RETURN_IF_ERROR(AddTargets(precision));
    if (targets_.empty())
      return FailedPrecondition("no precision runs here: " +
                                fmt::format("{}", fmt::join(result_.notes, "; ")));
    RERANKD_RETURN_IF_ERROR(Describe());
    AddTextRuns();
    for (const int tokens : options_.lengths) RERANKD_RETURN_IF_ERROR(AddLengthRuns(tokens));
    RERANKD_RETURN_IF_ERROR(Measure());
    RERANKD_RETURN_IF_ERROR(MeasureStages());
    return std::move(result_);
  }

 private:
  // One engine a number of threads. What runs as a precision that is there already would only repeat it.
  Status AddTargets(const std::string& precision) {
    for (const int threads : options_.threads) {
      Settings settings = options_.settings;
      settings.instances.resize(1);
      settings.instances[0].precision = precision;
      settings.instances[0].threads = threads;
      auto engine = options_.start(std::move(settings));
      if (engine.status().code() == Code::kFailedPrecondition) {
        result_.notes.push_back(fmt::format("{}: {}", precision, engine.status().message()));
        return {};
      }
      RERANKD_RETURN_IF_ERROR(engine.status());
      const std::string runs = (*engine)->instances().front().caps.precision;
      if (Find(runs, threads) != nullptr) {
        result_.notes.push_back(fmt::format("{} runs as {} here and is not measured again", precision, runs));
        return {};
      }
      targets_.push_back(
          std::make_unique<Target>(Target{runs, threads, std::move(*engine), result_.peaks.size()}));
      result_.peaks.push_back({runs, threads, {}});
    }
    return {};
  }

  const Target* Find(const std::string& precision, int threads) const {
    for (const auto& target : targets_)
      if (target->precision == precision && target->threads == threads) return target.get();
    return nullptr;
  }

  Status Describe() {
    const Engine& engine = *targets_.front()->engine;
    result_.model = engine.model();
    const BackendCaps& caps = engine.instances().front().caps;
    result_.backend = caps.name + (caps.details.empty() ? "" : ", " + caps.details);
    RERANKD_ASSIGN_OR_RETURN(result_.config, LoadModelConfig(engine.model().directory));
    return {};
  }

  void AddRun(const Target& target, Workload work, size_t in_flight) {
    Series series;
    series.workload = work.name;
    series.precision = target.precision;
    series.threads = target.threads;
    series.requests = static_cast<int64_t>(work.requests.size());
    result_.series.push_back(std::move(series));
    jobs_.push_back({&target, std::move(work), in_flight});
  }

  void AddTextRuns() {
    if (options_.text.requests.empty()) return;
    for (const auto& target : targets_) AddRun(*target, options_.text, OrderedScorer::kInFlight);
    Workload alone = options_.text;
    alone.name += ", alone";
    for (const auto& target : targets_) AddRun(*target, alone, 1);
  }

  Status AddLengthRuns(int tokens) {
    if (tokens > result_.model.max_length) {
      result_.notes.push_back(
          fmt::format("{} tokens: the model reads at most {}", tokens, result_.model.max_length));
      return {};
    }
    for (const auto& target : targets_) {
      RERANKD_ASSIGN_OR_RETURN(const int64_t pairs, PairsInTime(*target, tokens));
      RERANKD_ASSIGN_OR_RETURN(Workload work,
                               FixedLengthWorkload(target->engine->tokenizer(), tokens, pairs));
      AddRun(*target, std::move(work), OrderedScorer::kInFlight);
    }
    return {};
  }

  // How many pairs take about options.seconds: whole micro-batches, as many for every worker.
  Result<int64_t> PairsInTime(const Target& target, int tokens) const {
    const int batch_tokens = target.engine->instances().front().caps.batch_tokens;
    const int64_t step = int64_t{std::max(1, batch_tokens / tokens)} * target.threads;
    RERANKD_ASSIGN_OR_RETURN(Workload trial,
                             FixedLengthWorkload(target.engine->tokenizer(), tokens, 2 * step));
    const Job job{&target, std::move(trial), OrderedScorer::kInFlight};
    RERANKD_RETURN_IF_ERROR(Score(job, result_.config).status());  // warms up
    RERANKD_ASSIGN_OR_RETURN(const Sample sample, Score(job, result_.config));
    const double steps = options_.seconds * 2 / sample.seconds;
    return step * std::max<int64_t>(1, std::llround(steps));
  }

  Status Measure() {
    const int64_t total = static_cast<int64_t>(jobs_.size()) * options_.rounds;
    ProgressBar bar("measuring", total, "samples", options_.progress);
    int64_t done = 0;
    for (int round = 0; round < options_.rounds; ++round) {
      for (size_t i = 0; i < jobs_.size(); ++i) {
        RERANKD_RETURN_IF_ERROR(MeasureOne(jobs_[i], &result_.series[i]));
        bar.Set(++done);
      }
    }
    return {};
  }

  Status MeasureOne(const Job& job, Series* series) {
    const double peak = MeasurePeak(*kernels_, job.target->precision, job.target->threads);
    result_.peaks[job.target->peak].multiply_adds_per_s.push_back(peak);
    RERANKD_ASSIGN_OR_RETURN(const Sample sample, Score(job, result_.config));
    series->pairs = sample.pairs;
    series->tokens = sample.tokens;
    series->pairs_per_s.push_back(static_cast<double>(sample.pairs) / sample.seconds);
    series->share_of_peak.push_back(peak > 0 ? sample.multiply_adds / sample.seconds / peak : 0);
    return {};
  }

  // On one request of the text, or on pairs of a usual length. The engines wait meanwhile.
  Status MeasureStages() {
    constexpr int kUsualTokens = 95, kPairs = 50;
    const InstanceInfo& instance = targets_.front()->engine->instances().front();
    if (instance.caps.name != "native") return {};
    const Tokenizer& tokenizer = targets_.front()->engine->tokenizer();
    Workload work = options_.text;
    if (work.requests.empty()) {
      const int tokens = std::min(kUsualTokens, result_.model.max_length);
      RERANKD_ASSIGN_OR_RETURN(work, FixedLengthWorkload(tokenizer, tokens, kPairs));
    }
    work.requests.resize(1);
    StageOptions options;
    options.directory = result_.model.directory;
    options.tokenizer = &tokenizer;
    options.pair_options.max_length = result_.model.max_length;
    options.batch_tokens = instance.caps.batch_tokens;
    options.rounds = options_.rounds;
    for (const auto& target : targets_) {
      if (target->threads != targets_.front()->threads) continue;
      options.precision = PrecisionOf(target->precision);
      RERANKD_ASSIGN_OR_RETURN(StageProfile profile, ProfileStages(options, work));
      result_.stages.push_back(std::move(profile));
    }
    return {};
  }

  const SuiteOptions& options_;
  const KernelSet* kernels_ = nullptr;
  std::vector<std::unique_ptr<Target>> targets_;
  std::vector<Job> jobs_;  // [i] fills result_.series[i]
  SuiteResult result_;
};

}  // namespace

Result<SuiteResult> RunSuite(const SuiteOptions& options) { return Suite(options).Run(); }

}  // namespace rerankd::perf
