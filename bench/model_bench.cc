// Speed of the encoder alone: pairs of given lengths through model/ on 1..n threads, as pairs/s, GFLOP/s and
// share of the peak that the same threads reach on registers in the same round. One JSON line a setting.
//
//   model_bench [--model DIR] [--lengths dl19|N,N,…|@FILE] [--threads N,N,…] [--batch-tokens N,N,…]
//               [--isa NAME,…] [--gemm own,onednn] [--pairs N] [--rounds N]
//
// Settings are interleaved: every round runs each of them once. Figures are medians over the rounds.
#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "kernels/dispatch.h"
#include "model/bert.h"
#include "model/random_bert.h"

namespace rerankd {
namespace {

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> items;
  size_t start = 0;
  while (start <= list.size()) {
    const size_t comma = std::min(list.find(',', start), list.size());
    items.push_back(list.substr(start, comma - start));
    start = comma + 1;
  }
  return items;
}

// Lengths with the quantiles of the DL19 BM25 top-100 pairs (mean 95 tokens), in a fixed shuffled order.
std::vector<int> Dl19Lengths(int count) {
  const std::pair<double, double> quantiles[] = {{0, 28},    {0.05, 53},  {0.25, 69},  {0.5, 85}, {0.75, 118},
                                                 {0.9, 147}, {0.95, 162}, {0.99, 196}, {1, 268}};
  std::vector<int> lengths;
  for (int i = 0; i < count; ++i) {
    const double q = (i + 0.5) / count;
    size_t k = 1;
    while (quantiles[k].first < q) ++k;
    const auto& [q0, n0] = quantiles[k - 1];
    const auto& [q1, n1] = quantiles[k];
    lengths.push_back(static_cast<int>(n0 + (n1 - n0) * (q - q0) / (q1 - q0)));
  }
  std::shuffle(lengths.begin(), lengths.end(), std::mt19937(1));
  return lengths;
}

Result<std::vector<int>> ReadLengths(const std::string& spec, int count) {
  if (spec == "dl19") return Dl19Lengths(count);
  std::vector<std::string> items;
  if (spec.starts_with("@")) {
    RERANKD_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(spec.substr(1)));
    for (std::string line; lines.Next(&line);) items.push_back(line);
  } else {
    items = Split(spec);
  }
  std::vector<int> lengths;
  while (!items.empty() && static_cast<int>(lengths.size()) < count) {
    for (const std::string& item : items) {
      lengths.push_back(std::atoi(item.c_str()));
      if (lengths.back() < 1) return InvalidArgument("a length of \"" + item + "\" tokens");
    }
  }
  return lengths;
}

EncodedPairs RandomPairs(const std::vector<int>& lengths, const ModelConfig& config) {
  std::mt19937 engine(2);
  EncodedPairs pairs;
  for (const int wanted : lengths) {
    const int length = std::min(wanted, config.max_positions);
    for (int t = 0; t < length; ++t) {
      pairs.PushToken(static_cast<int32_t>(engine() % static_cast<uint32_t>(config.vocab_size)),
                      t * 8 >= length ? 1 : 0);
    }
    pairs.ClosePair(length);
  }
  return pairs;
}

// Floating-point operations that one pair of n tokens needs, the last layer for [CLS] only.
double FlopsOfPair(const ModelConfig& c, double n) {
  const double h = c.hidden_size, f = c.intermediate_size;
  const double full = 2 * n * (4 * h * h + 2 * h * f) + 4 * n * n * h;
  const double last = 2 * n * 2 * h * h + 2 * (2 * h * h + 2 * h * f) + 4 * n * h;
  return (c.num_layers - 1) * full + last + 2 * h * h + 2 * h * c.num_labels;
}

struct Setting {
  std::string isa, gemm;
  int threads = 1, batch_tokens = 256;
};

struct Sample {
  double pairs_per_s, gflops, peak_gflops, share;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Peak of one thread over about 60 ms, while the other threads of the round do the same.
double MeasurePeak(const KernelSet& kernels) {
  const auto run = [&](long rounds) {
    const TimePoint start = SteadyClock::Get().Now();
    const double flops = kernels.peak(rounds);
    return std::pair(flops, ToSeconds(SteadyClock::Get().Now() - start));
  };
  long rounds = 10000;
  while (run(rounds).second < 0.01) rounds *= 2;
  const auto [flops, seconds] = run(rounds * 6);
  return flops / seconds;
}

struct Work {
  const EncodedPairs* pairs;
  std::vector<std::pair<int, int>> batches;  // [first, end) pairs
};

Work CutBatches(const EncodedPairs& pairs, int batch_tokens) {
  Work work{&pairs, {}};
  for (int first = 0; first < pairs.size();) {
    int end = first, tokens = 0;
    while (end < pairs.size() && (end == first || tokens + pairs.length(end) <= batch_tokens))
      tokens += pairs.length(end++);
    work.batches.emplace_back(first, end);
    first = end;
  }
  return work;
}

// All threads measure their peak together, then share the batches; the time ends with the last batch.
Sample RunRound(const Setting& s, const std::shared_ptr<const BertWeights>& weights, const Work& work) {
  std::atomic<size_t> next{0};
  std::vector<double> peaks(static_cast<size_t>(s.threads));
  std::vector<TimePoint> starts(peaks.size()), ends(peaks.size());
  std::barrier barrier(s.threads);
  const auto run = [&](size_t thread) {
    Bert bert(weights, s.batch_tokens);
    std::vector<EncodedPair> batch;
    std::vector<float> logits(4096 * static_cast<size_t>(bert.config().num_labels));
    const auto score = [&](size_t i) {
      batch.clear();
      for (int p = work.batches[i].first; p < work.batches[i].second; ++p) batch.push_back((*work.pairs)[p]);
      (void)bert.Forward(batch, CancelFlag(), logits);
    };
    score(0);  // touches the workspace
    barrier.arrive_and_wait();
    peaks[thread] = MeasurePeak(*weights->kernels);
    barrier.arrive_and_wait();
    starts[thread] = SteadyClock::Get().Now();
    for (size_t i = next++; i < work.batches.size(); i = next++) score(i);
    ends[thread] = SteadyClock::Get().Now();
  };
  std::vector<std::thread> threads;
  for (size_t t = 0; t < peaks.size(); ++t) threads.emplace_back(run, t);
  for (std::thread& t : threads) t.join();
  const double seconds = ToSeconds(*std::max_element(ends.begin(), ends.end()) -
                                   *std::min_element(starts.begin(), starts.end()));
  double peak = 0, flops = 0;
  for (const double p : peaks) peak += p;
  for (int i = 0; i < work.pairs->size(); ++i) flops += FlopsOfPair(weights->config, work.pairs->length(i));
  return {work.pairs->size() / seconds, flops / seconds * 1e-9, peak * 1e-9, flops / seconds / peak};
}

struct Options {
  std::string model, lengths = "dl19";
  std::vector<std::string> threads = {"1"}, batch_tokens = {"256"}, isas = {""}, gemms = {"own"};
  int pairs = 300, rounds = 5;
};

Result<Options> Parse(const std::vector<std::string>& args) {
  Options o;
  for (size_t i = 0; i + 1 < args.size(); i += 2) {
    const std::string &key = args[i], &value = args[i + 1];
    if (key == "--model") {
      o.model = value;
    } else if (key == "--lengths") {
      o.lengths = value;
    } else if (key == "--threads") {
      o.threads = Split(value);
    } else if (key == "--batch-tokens") {
      o.batch_tokens = Split(value);
    } else if (key == "--isa") {
      o.isas = Split(value);
    } else if (key == "--gemm") {
      o.gemms = Split(value);
    } else if (key == "--pairs") {
      o.pairs = std::atoi(value.c_str());
    } else if (key == "--rounds") {
      o.rounds = std::atoi(value.c_str());
    } else {
      return InvalidArgument("unknown option " + key + "; the head of bench/model_bench.cc lists them");
    }
  }
  if (args.size() % 2 != 0) return InvalidArgument(args.back() + " needs a value");
  if (o.pairs < 1 || o.rounds < 1) return InvalidArgument("--pairs and --rounds must be positive");
  return o;
}

// The model of a folder, or random weights of the MiniLM-L6 shape.
class ModelLoader {
 public:
  explicit ModelLoader(std::string directory) : directory_(std::move(directory)) {}

  Result<std::shared_ptr<const BertWeights>> Load(const Setting& s) {
    RERANKD_ASSIGN_OR_RETURN(const KernelSet* kernels, ChooseKernels(s.isa));
    RERANKD_ASSIGN_OR_RETURN(const GemmProvider provider, ChooseGemm(s.gemm, *kernels));
    if (!directory_.empty()) {
      RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(directory_));
      RERANKD_ASSIGN_OR_RETURN(TensorSource source, TensorSource::Open(directory_, config));
      return MakeBertWeights(config, std::move(source), *kernels, provider);
    }
    if (random_.empty()) random_ = RandomBertFile(MiniLmConfig(), 1);
    RERANKD_ASSIGN_OR_RETURN(SafeTensors tensors,
                             SafeTensors::Parse(std::as_bytes(std::span(random_)), "random weights"));
    return MakeBertWeights(MiniLmConfig(), TensorSource(std::move(tensors), WeightStorage::kFloat), *kernels,
                           provider);
  }

 private:
  std::string directory_, random_;
};

struct Run {
  Setting setting;
  std::shared_ptr<const BertWeights> weights;
  Work work;
  std::vector<Sample> samples;
};

void Print(const Run& run) {
  const auto median = [&](double Sample::*field) {
    std::vector<double> values;
    for (const Sample& s : run.samples) values.push_back(s.*field);
    return Median(values);
  };
  const double tokens = static_cast<double>(run.work.pairs->tokens()) / run.work.pairs->size();
  fmt::print(
      R"({{"isa":"{}","gemm":"{}","threads":{},"batch_tokens":{},"pairs":{},"mean_tokens":{:.1f},"rounds":{},)"
      R"("pairs_per_s":{:.2f},"gflops":{:.1f},"peak_gflops":{:.1f},"share_of_peak":{:.3f},"cpu":"{}"}})"
      "\n",
      run.weights->kernels->name, run.setting.gemm, run.setting.threads, run.setting.batch_tokens,
      run.work.pairs->size(), tokens, run.samples.size(), median(&Sample::pairs_per_s),
      median(&Sample::gflops), median(&Sample::peak_gflops), median(&Sample::share), GetCpuInfo().model);
}

Status Bench(const Options& options) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<int> lengths, ReadLengths(options.lengths, options.pairs));
  ModelLoader loader(options.model);
  std::map<std::string, std::shared_ptr<const BertWeights>> models;
  std::vector<Run> runs;
  EncodedPairs pairs;
  for (const std::string& isa : options.isas) {
    for (const std::string& gemm : options.gemms) {
      for (const std::string& threads : options.threads) {
        for (const std::string& batch : options.batch_tokens) {
          const Setting setting = {isa, gemm, std::atoi(threads.c_str()), std::atoi(batch.c_str())};
          auto& weights = models[isa + "/" + gemm];
          if (weights == nullptr) {
            RERANKD_ASSIGN_OR_RETURN(weights, loader.Load(setting));
          }
          if (pairs.size() == 0) pairs = RandomPairs(lengths, weights->config);
          runs.push_back({setting, weights, CutBatches(pairs, setting.batch_tokens), {}});
        }
      }
    }
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (Run& run : runs) run.samples.push_back(RunRound(run.setting, run.weights, run.work));
  }
  for (const Run& run : runs) Print(run);
  return {};
}

}  // namespace
}  // namespace rerankd

int main(int argc, char** argv) {
  const auto options = rerankd::Parse({argv + 1, argv + argc});
  const rerankd::Status status = options.ok() ? rerankd::Bench(*options) : options.status();
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.ToString());
  return 1;
}
