// What every backend must do, through the same registry and plugin loader as the engine. The environment
// variable RERANKD_CONFORMANCE=backend/precision/device says which one runs (tests/backends/CMakeLists.txt).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>
#include <random>
#include <thread>

#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "engine/backend_registry.h"
#include "engine/engine.h"
#include "eval/agreement.h"
#include "eval/metrics.h"
#include "eval/trec.h"
#include "goldens.h"
#include "model/bert_onnx.h"
#include "model/onnx_writer.h"
#include "tokenizer/tokenizer.h"
#include "verdict.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

Subject TheSubject() {
  const char* value = std::getenv("RERANKD_CONFORMANCE");
  const auto parts = Split(value != nullptr && *value != '\0' ? value : "native/fp32/cpu", '/');
  return {std::string(parts[0]), std::string(parts[1]), std::string(parts[2])};
}

bool IsQuantised(const std::string& precision) { return precision == "int8" || precision == "int4"; }

// Largest distance of a logit from its golden, of the precisions that have one.
double Tolerance(const std::string& precision) {
  static const std::map<std::string, double> bounds = {{"fp32", 1e-4}, {"bf16", 0.15}, {"fp16", 0.05}};
  return bounds.at(precision);
}

// Quantised logits: the largest root mean square of their errors, as a share of the standard deviation of the
// logits. Codes with n steps over c times the root mean square err by c / (n sqrt(12)) of it, and the 24
// products of 6 layers add up in quadrature. int8: activations c = 9, n = 127, weights c = 5, n = 63 (what a
// CPU without VNNI leaves): 0.03 sqrt(24) = 0.15. int4: weights in groups of 64, c = 5, n = 15: 0.096
// sqrt(24) = 0.47.
double NoiseShare(const std::string& precision) { return precision == "int8" ? 0.15 : 0.47; }

double MeanSquare(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return sum / static_cast<double>(values.size());
}

double Deviation(std::span<const float> values) {
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  return std::sqrt(std::max(0.0, MeanSquare(values) - mean * mean));
}

double RmsDifference(std::span<const float> a, std::span<const float> b) {
  std::vector<float> difference(a.size());
  std::transform(a.begin(), a.end(), b.begin(), difference.begin(), std::minus<>());
  return std::sqrt(MeanSquare(difference));
}

// `values` with errors of `share` of their standard deviation, a normal distribution.
std::vector<float> WithNoise(std::span<const float> values, double share, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> noise(0, share * Deviation(values));
  std::vector<float> out(values.begin(), values.end());
  for (float& value : out) value += static_cast<float>(noise(engine));
  return out;
}

double SpearmanOf(std::span<const float> a, std::span<const float> b) {
  return Spearman(std::vector<double>(a.begin(), a.end()), std::vector<double>(b.begin(), b.end()));
}

// Largest distance between the logits of a pair alone and in a batch, where the logits have this deviation.
double BatchTolerance(const std::string& precision, double deviation) {
  if (precision == "fp32") return 2e-5;
  return IsQuantised(precision) ? 3 * NoiseShare(precision) * deviation : Tolerance(precision);
}

#ifdef RERANKD_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Is this arithmetic computed without vector code? MLX has none for any but fp32 on x86; PyTorch none for
// halves on CPUs without them. Then a part of the large sets shows as much.
bool IsSlow(const Subject& subject) {
  if (kSanitized) return true;
  if (subject.device != "cpu" || subject.precision == "fp32") return false;
  if (subject.backend == "mlx") return true;
  if (subject.backend != "pytorch") return false;
#if defined(__x86_64__)
  return subject.precision == "fp16" ||
         (subject.precision == "bf16" && !__builtin_cpu_supports("avx512bf16"));
#else
  return false;
#endif
}

// Address space of this process.
int64_t VirtualBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0;
  statm >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

const std::string kTiny = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";
const std::string kLabels = std::string(RERANKD_SOURCE_DIR) + "/tests/data/labels3-f16";
const std::string kDefault = std::string(RERANKD_SOURCE_DIR) + "/models/default";

constexpr int kGroupSize = 32;  // fits the small models

Result<std::vector<std::unique_ptr<Backend>>> MakeBackends(const Subject& subject, const std::string& model,
                                                           int workers = 1, int group_size = kGroupSize) {
  InstanceSettings settings;
  settings.backend = subject.backend;
  settings.precision = subject.precision;
  settings.device = subject.device;
  settings.group_size = group_size;
  RERANKD_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(model));
  BackendRegistry registry;
  return registry.Make({settings, model, config, workers});
}

class Conformance : public testing::Test {
 protected:
  void SetUp() override { subject_ = TheSubject(); }

  Result<std::vector<std::unique_ptr<Backend>>> TryMake(const std::string& model, int workers = 1) const {
    return MakeBackends(subject_, model, workers, group_size_);
  }

  std::unique_ptr<Backend> Make(const std::string& folder = kTiny) const {
    auto backends = TryMake(folder);
    EXPECT_TRUE(backends.ok()) << backends.status().ToString();
    return backends.ok() ? std::move(backends->front()) : nullptr;
  }

  Subject subject_;
  int group_size_ = kGroupSize;
};

EncodedPairs RandomPairs(uint32_t seed, int count, int longest, int vocabulary = 500) {
  std::mt19937 engine(seed);
  EncodedPairs pairs;
  for (int i = 0; i < count; ++i) {
    const int length = static_cast<int>(engine() % static_cast<uint32_t>(longest)) + 1;
    for (int t = 0; t < length; ++t)
      pairs.PushToken(static_cast<int32_t>(engine() % static_cast<uint32_t>(vocabulary)), t > length / 3);
    pairs.ClosePair(length);
  }
  return pairs;
}

Batch BatchOf(const EncodedPairs& pairs, int first, int count) {
  Batch batch;
  for (int i = first; i < first + count; ++i) batch.Add(pairs[i]);
  return batch;
}

std::vector<float> Score(Backend* backend, const Batch& batch, BatchStats* stats = nullptr) {
  std::vector<float> logits(batch.pairs().size() * static_cast<size_t>(backend->caps().num_labels));
  const Status status = backend->Score(batch, CancelFlag(), logits, stats);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

double Farthest(std::span<const float> a, std::span<const float> b) {
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  return a.size() == b.size() ? worst : INFINITY;
}

// The largest distance shows on few pairs, the shortest ones; a root mean square needs some of every length.
void TakeSome(const std::string& precision, std::vector<GoldenPair>* goldens) {
  const bool few = !kSanitized && !IsQuantised(precision);
  if (few)
    std::stable_sort(goldens->begin(), goldens->end(), [](const GoldenPair& a, const GoldenPair& b) {
      return a.query.size() + a.document.size() < b.query.size() + b.document.size();
    });
  goldens->resize(std::min<size_t>(goldens->size(), few ? 5 : 20));
}

TEST_F(Conformance, LogitsAreThoseOfTheGoldens) {
  for (const GoldenSet& set : AllGoldens()) {
    if (const std::string why = WhyAbsent(set); !why.empty()) {
      std::cout << set.name << " left out: " << why << "\n";
      continue;
    }
    SCOPED_TRACE(set.name);
    const std::string folder = set.model.string();
    const auto config = LoadModelConfig(folder);
    const auto tokenizer = LoadTokenizer(folder);
    ASSERT_TRUE(config.ok() && tokenizer.ok());
    std::vector<GoldenPair> goldens = ReadGoldens(set);
    if (IsSlow(subject_)) TakeSome(subject_.precision, &goldens);
    const EncodedPairs pairs = Encode(**tokenizer, config->max_positions, goldens);
    if (const Status status = TryMake(folder).status(); status.code() == Code::kFailedPrecondition) {
      // The only things that a golden may lack.
      EXPECT_THAT(status.message(),
                  HasSubstr(subject_.backend == "compiled" ? "no package" : "model.group_size"));
      std::cout << set.name << " left out: " << status.message() << "\n";
      continue;
    }
    const auto backend = Make(folder);
    ASSERT_NE(backend, nullptr);
    EXPECT_EQ(backend->caps().name, subject_.backend);
    EXPECT_EQ(backend->caps().precision, subject_.precision);
    EXPECT_EQ(backend->caps().num_labels, config->num_labels);
    std::vector<float> expected;
    for (const GoldenPair& pair : goldens)
      expected.insert(expected.end(), pair.logits.begin(), pair.logits.end());
    const std::vector<float> logits = Score(backend.get(), BatchOf(pairs, 0, pairs.size()));
    ASSERT_EQ(logits.size(), expected.size());
    const double worst = Farthest(logits, expected);
    std::cout << set.name << ": max abs difference " << worst << " in " << goldens.size() << " pairs";
    if (IsQuantised(subject_.precision)) {
      // Heads that were never trained magnify what they were not trained to ignore: wrong weights show, no
      // more.
      const double share = RmsDifference(logits, expected) / Deviation(expected);
      std::cout << ", rms " << share << " of the deviation, Spearman " << SpearmanOf(logits, expected);
      EXPECT_LE(share, folder == kDefault ? NoiseShare(subject_.precision) : 0.7);
    } else {
      EXPECT_LE(worst, Tolerance(subject_.precision));
    }
    std::cout << ", " << backend->caps().details << "\n";
  }
}

// Queries and documents of the demo.
struct RankedText {
  EncodedPairs pairs;
  std::vector<std::pair<std::string, std::string>> ids;  // query, document
};

void AddDemo(const Tokenizer& tokenizer, RankedText* text) {
  const std::string data = std::string(RERANKD_SOURCE_DIR) + "/experiments/data/demo_";
  const auto run = ReadRun(data + "run.trec");
  const auto queries = ReadTexts(data + "queries.jsonl", nullptr),
             corpus = ReadTexts(data + "corpus.jsonl", nullptr);
  ASSERT_TRUE(run.ok() && queries.ok() && corpus.ok());
  std::vector<GoldenPair> pairs;
  for (const QueryRun& query : *run) {
    for (const ScoredDoc& doc : query.docs) {
      pairs.push_back({queries->at(query.query_id), corpus->at(doc.id), 0, {}});
      text->ids.emplace_back(query.query_id, doc.id);
    }
  }
  text->pairs = Encode(tokenizer, 512, pairs);
}

double DemoNdcg(const RankedText& text, std::span<const float> scores) {
  static const auto qrels = ReadQrels(std::string(RERANKD_SOURCE_DIR) + "/experiments/data/demo_qrels.tsv");
  EXPECT_TRUE(qrels.ok());
  std::map<std::string, QueryRun> run;
  for (size_t i = 0; i < text.ids.size(); ++i)
    run[text.ids[i].first].docs.push_back({text.ids[i].second, scores[i]});
  TrecRun ranked;
  for (auto& [query, docs] : run) {
    SortAsTrecEval(&docs.docs);
    ranked.push_back({query, docs.docs});
  }
  return Mean(Evaluate({Metric::Kind::kNdcg, 10}, ranked, *qrels, 1));
}

// No worse than noise of the stated share would be: of 50 draws, Spearman no lower than the lowest and
// nDCG@10 of the demo no lower than the lowest.
TEST_F(Conformance, QuantisedWeightsKeepTheRankingOfATrainedModel) {
  if (!IsQuantised(subject_.precision)) GTEST_SKIP() << "of quantised precisions only";
  if (kSanitized) GTEST_SKIP() << "under a sanitizer only the small models run";
  const auto tokenizer = LoadTokenizer(kDefault);
  ASSERT_TRUE(tokenizer.ok());
  RankedText text;
  AddDemo(**tokenizer, &text);
  const Batch batch = BatchOf(text.pairs, 0, text.pairs.size());
  const auto backend = Make(kDefault);
  ASSERT_NE(backend, nullptr);
  const std::vector<float> logits = Score(backend.get(), batch);
  subject_ = {"native", "fp32", "cpu"};
  const std::vector<float> exact = Score(Make(kDefault).get(), batch);
  double spearman = 1, ndcg = 1;
  const double share = NoiseShare(TheSubject().precision);
  for (uint32_t draw = 0; draw < 50; ++draw) {
    const std::vector<float> noisy = WithNoise(exact, share, draw);
    spearman = std::min(spearman, SpearmanOf(noisy, exact));
    ndcg = std::min(ndcg, DemoNdcg(text, noisy));
  }
  std::cout << "Spearman " << SpearmanOf(logits, exact) << " (at least " << spearman << "), nDCG@10 "
            << DemoNdcg(text, logits) << " (fp32 " << DemoNdcg(text, exact) << ", at least " << ndcg << ")\n";
  EXPECT_GE(SpearmanOf(logits, exact), spearman);
  EXPECT_GE(DemoNdcg(text, logits), ndcg);
}

TEST_F(Conformance, APairScoresTheSameInEveryBatchAndOrder) {
  const auto backend = Make();
  ASSERT_NE(backend, nullptr);
  const EncodedPairs pairs = RandomPairs(5, 60, IsSlow(subject_) ? 32 : 128);
  std::vector<float> alone;
  for (int i = 0; i < pairs.size(); ++i) alone.push_back(Score(backend.get(), BatchOf(pairs, i, 1))[0]);
  std::vector<int> order(static_cast<size_t>(pairs.size()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::mt19937 engine(7);
  double worst = 0;
  for (int round = 0; round < 5; ++round) {
    std::shuffle(order.begin(), order.end(), engine);
    Batch batch;
    std::vector<float> expected;
    for (const int i : order) {
      batch.Add(pairs[i]);
      expected.push_back(alone[static_cast<size_t>(i)]);
    }
    worst = std::max(worst, Farthest(Score(backend.get(), batch), expected));
  }
  EXPECT_LE(worst, BatchTolerance(subject_.precision, Deviation(alone)));
  std::cout << "alone against in a batch: max abs difference " << worst << "\n";
}

TEST_F(Conformance, TokenTypesCount) {
  const auto backend = Make();
  ASSERT_NE(backend, nullptr);
  const std::vector<int32_t> ids = {2, 40, 41, 3, 50, 51, 3};
  const std::vector<uint8_t> pair_types = {0, 0, 0, 0, 1, 1, 1}, one_type(7, 0);
  Batch with, without;
  with.Add({ids, pair_types});
  without.Add({ids, one_type});
  EXPECT_GT(std::abs(Score(backend.get(), with)[0] - Score(backend.get(), without)[0]), 0.01);
}

TEST_F(Conformance, EmptyOneTokenLongestAndTooLong) {
  const auto backend = Make();
  ASSERT_NE(backend, nullptr);
  EXPECT_TRUE(backend->Score(Batch(), CancelFlag(), {}, nullptr).ok());
  const int longest = backend->caps().max_tokens;
  ASSERT_EQ(longest, 128);
  const std::vector<int32_t> ids(static_cast<size_t>(longest) + 1, 7);
  const std::vector<uint8_t> types(ids.size(), 0);
  Batch batch;
  batch.Add({std::span(ids).first(1), std::span(types).first(1)});
  batch.Add({std::span(ids).first(static_cast<size_t>(longest)),
             std::span(types).first(static_cast<size_t>(longest))});
  for (const float logit : Score(backend.get(), batch)) EXPECT_TRUE(std::isfinite(logit));
  Batch too_long, empty_pair, unknown;
  too_long.Add({ids, types});
  empty_pair.Add({});
  const std::vector<int32_t> outside = {100000};
  unknown.Add({outside, std::span(types).first(1)});
  std::vector<float> logits(1);
  for (const Batch* bad : {&too_long, &empty_pair, &unknown})
    EXPECT_EQ(backend->Score(*bad, CancelFlag(), logits, nullptr).code(), Code::kInvalidArgument);
  EXPECT_TRUE(backend->health().ok());
}

TEST_F(Conformance, WarmsUpAndReportsWhatItComputed) {
  const auto backend = Make();
  ASSERT_NE(backend, nullptr);
  const int lengths[] = {16, 64, 128};
  ASSERT_TRUE(backend->Warmup(lengths).ok());
  const EncodedPairs pairs = RandomPairs(3, 20, 100);
  const Batch batch = BatchOf(pairs, 0, 20);
  BatchStats stats;
  Score(backend.get(), batch, &stats);
  EXPECT_GT(stats.compute_ms, 0);
  EXPECT_GE(stats.padded_tokens, batch.tokens());
  if (!backend->caps().padded) {
    EXPECT_EQ(stats.padded_tokens, batch.tokens());
  }
  EXPECT_GT(backend->usage().host_bytes + backend->usage().device_bytes, 0);
}

TEST_F(Conformance, StopsWhenCancelled) {
  const auto backend = Make();
  ASSERT_NE(backend, nullptr);
  const EncodedPairs pairs = RandomPairs(4, 400, 128);
  const Batch batch = BatchOf(pairs, 0, pairs.size());
  std::vector<float> logits(400);
  const CancelFlag before;
  before.Cancel();
  EXPECT_EQ(backend->Score(batch, before, logits, nullptr).code(), Code::kCancelled);
  // In the middle: this batch takes many times longer than the two milliseconds.
  const CancelFlag middle;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    middle.Cancel();
  });
  const Code code = backend->Score(batch, middle, logits, nullptr).code();
  canceller.join();
  EXPECT_EQ(code, Code::kCancelled);
  EXPECT_TRUE(backend->health().ok());
  Score(backend.get(), BatchOf(pairs, 0, 3));
}

TEST_F(Conformance, InstancesOfDifferentModelsAndWorkersOfOneRunSideBySide) {
  auto workers = TryMake(kTiny, 2);
  ASSERT_TRUE(workers.ok()) << workers.status().ToString();
  const auto other = Make(kLabels);
  ASSERT_NE(other, nullptr);
  std::vector<Backend*> backends = {other.get()};
  for (const auto& worker : *workers) backends.push_back(worker.get());
  const EncodedPairs pairs = RandomPairs(6, 24, IsSlow(subject_) ? 16 : 60, 300);
  std::vector<std::vector<float>> expected;
  for (Backend* backend : backends) expected.push_back(Score(backend, BatchOf(pairs, 0, 24)));
  std::vector<double> worst(backends.size(), 0);
  std::vector<std::thread> threads;
  for (size_t b = 0; b < backends.size(); ++b) {
    threads.emplace_back([&, b] {
      for (int round = 0; round < 10; ++round)
        worst[b] = std::max(worst[b], Farthest(Score(backends[b], BatchOf(pairs, 0, 24)), expected[b]));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t b = 0; b < worst.size(); ++b)
    EXPECT_LE(worst[b], BatchTolerance(subject_.precision, Deviation(expected[b])));
}

// Every engine brings its own threads, products of matrices and protobuf: in one process they must not meet.
TEST_F(Conformance, OtherEnginesRunBesideIt) {
  const EncodedPairs pairs = RandomPairs(13, 24, 60);
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::vector<float>> alone;
  const auto add = [&](const Subject& subject) {
    auto made = MakeBackends(subject, kTiny);
    if (!made.ok()) return made.status();
    names.push_back(subject.backend);
    backends.push_back(std::move(made->front()));
    alone.push_back(Score(backends.back().get(), BatchOf(pairs, 0, 24)));
    return Status();
  };
  ASSERT_TRUE(add(subject_).ok());
  for (const BackendDescription& other : AvailableBackends()) {
    if (!other.missing.empty() || other.name == subject_.backend) continue;
    const Status status = add({other.name, "fp32", "cpu"});
    if (other.name == "compiled" && status.message().find("no package") != std::string::npos) continue;
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  std::cout << "side by side: " << Join(names, ", ") << "\n";
  std::vector<double> worst(backends.size(), 0);
  std::vector<std::thread> threads;
  for (size_t b = 0; b < backends.size(); ++b) {
    threads.emplace_back([&, b] {
      for (int round = 0; round < 10; ++round)
        worst[b] = std::max(worst[b], Farthest(Score(backends[b].get(), BatchOf(pairs, 0, 24)), alone[b]));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t b = 0; b < worst.size(); ++b)
    EXPECT_LE(worst[b], BatchTolerance(b == 0 ? subject_.precision : "fp32", Deviation(alone[b])))
        << names[b];
}

// Takes all memory of the calling thread but fragments: the address space is limited to what this process
// has, and what its allocator has left is allocated.
class NoMemory {
 public:
  NoMemory() {
    blocks_.reserve(1 << 16);
    EXPECT_EQ(getrlimit(RLIMIT_AS, &old_), 0);
    rlimit tight = old_;
    tight.rlim_cur = static_cast<rlim_t>(VirtualBytes());
    EXPECT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
    for (void* block = nullptr; (block = std::malloc(1 << 20)) != nullptr;) blocks_.push_back(block);
  }
  ~NoMemory() {
    EXPECT_EQ(setrlimit(RLIMIT_AS, &old_), 0);
    for (void* block : blocks_) std::free(block);
  }

 private:
  rlimit old_{};
  std::vector<void*> blocks_;
};

// In a thread of its own, because what an engine keeps for a thread may be spoilt.
TEST_F(Conformance, OutOfMemoryFailsTheRequestAndTheInstanceRecovers) {
  if (kSanitized) GTEST_SKIP() << "sanitizers reserve address space of their own";
  const EncodedPairs small = RandomPairs(8, 2, 12), large = RandomPairs(9, 2, 128, 30000);
  std::thread([&] {
    const auto backend = Make(kDefault);
    ASSERT_NE(backend, nullptr);
    const Batch again = BatchOf(small, 0, 2), too_much = BatchOf(large, 0, 2);
    const std::vector<float> before = Score(backend.get(), again);
    std::vector<float> logits(2);
    // More often than failures in a row make an instance unhealthy.
    for (int i = 0; i < 4; ++i) {
      const Status status = [&] {
        const NoMemory none;
        return backend->Score(too_much, CancelFlag(), logits, nullptr);
      }();
      if (i == 0) std::cout << "without memory: " << status.ToString().substr(0, 200) << "\n";
      const Code expected = subject_.backend == "native" ? Code::kOk : Code::kResourceExhausted;
      EXPECT_EQ(status.code(), expected) << status.ToString();  // native reserves everything beforehand
    }
    EXPECT_TRUE(backend->health().ok()) << backend->health().message();
    EXPECT_LE(Farthest(Score(backend.get(), again), before),
              BatchTolerance(subject_.precision, 1.5));  // deviation of the goldens of this model
    Score(backend.get(), too_much);
  }).join();
}

TEST_F(Conformance, MemoryIsStableOverTenThousandBatches) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory is in the figure";
  const auto workers = TryMake(kTiny, 2);  // a GPU may give one
  ASSERT_TRUE(workers.ok()) << workers.status().ToString();
  const int count = static_cast<int>(workers->size());
  const EncodedPairs pairs = RandomPairs(10, 64, IsSlow(subject_) ? 4 : 128);  // as many shapes of a batch
  int64_t before = 0;
  std::barrier first_part(count, [&]() noexcept { before = ResidentBytes(); });
  const auto run = [&](Backend* backend, std::mt19937* engine, int batches) {
    for (int i = 0; i < batches; ++i) {
      const int first = static_cast<int>((*engine)() % 60);
      Score(backend, BatchOf(pairs, first, static_cast<int>((*engine)() % 4) + 1));
    }
  };
  std::vector<std::thread> threads;
  for (int w = 0; w < count; ++w) {
    threads.emplace_back([&, w] {
      Backend* backend = (*workers)[static_cast<size_t>(w)].get();
      std::mt19937 engine(static_cast<uint32_t>(11 + w));
      Score(backend, BatchOf(pairs, 0, 64));
      run(backend, &engine, 2000 / count);
      first_part.arrive_and_wait();
      run(backend, &engine, 8000 / count);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const int64_t growth = ResidentBytes() - before;
  std::cout << "resident memory grew by " << growth / 1024 << " KiB over the last 8,000 of 10,000 batches\n";
  EXPECT_LT(growth, 4 << 20);
}

TEST_F(Conformance, ErrorsNameWhatIsMissing) {
  EXPECT_EQ(TryMake("/nowhere").status().code(), Code::kNotFound);
  // What the folder or the machine lacks is said, not replaced.
  if (subject_.backend != "native") {
    subject_.precision = "int4";
    group_size_ = 128;  // mlx has int4, but 128 does not divide the inputs of this model
    EXPECT_EQ(TryMake(kTiny).status().code(), Code::kFailedPrecondition);
    subject_.precision = "fp32";
  }
  subject_.device = "warp:7";
  const Status device = TryMake(kTiny).status();
  EXPECT_EQ(device.code(), Code::kFailedPrecondition);
  EXPECT_THAT(device.message(), HasSubstr("warp:7"));
}

TEST_F(Conformance, APackageIsFoundInTheModelsFolderAndOneOfOtherWeightsIsRefused) {
  if (subject_.backend != "compiled") GTEST_SKIP() << "of backend compiled only";
  const std::string folder = testing::TempDir() + "rerankd_other_weights";
  fs::remove_all(folder);
  fs::copy(kTiny, folder, fs::copy_options::recursive);
  const Status nowhere = TryMake(folder).status();
  EXPECT_EQ(nowhere.code(), Code::kFailedPrecondition);
  EXPECT_THAT(nowhere.message(),
              AllOf(HasSubstr("no package cpu-fp32-default.pt2 in " + folder + "/compiled, "),
                    HasSubstr("/plugins/compiled/rerankd_other_weights; make it with"),
                    HasSubstr("compile.py " + folder)));
  const std::string plugins = std::getenv("RERANKD_PLUGIN_PATH");  // one folder (CMakeLists.txt)
  fs::create_directories(folder + "/compiled");
  fs::copy(plugins + "/compiled/tiny-random/cpu-fp32-default.pt2", folder + "/compiled");
  EXPECT_TRUE(TryMake(folder).ok());
  const std::string file = folder + "/model.safetensors";
  std::string weights = *ReadFile(file);
  weights.back() = static_cast<char>(weights.back() ^ 1);
  ASSERT_TRUE(WriteFileAtomically(file, weights).ok());
  const Status status = TryMake(folder).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("was made from other weights"));
  fs::remove_all(folder);
}

// A model folder of which one test may change the files.
class OnnxFiles : public Conformance {
 protected:
  void SetUp() override {
    Conformance::SetUp();
    if (subject_.backend != "onnx") GTEST_SKIP() << "of backend onnx only";
    folder_ = testing::TempDir() + "rerankd_onnx_files";
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/onnx");
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy(fs::path(kTiny) / file, folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  std::string folder_;
};

TEST_F(OnnxFiles, AFileOfTheFolderWinsForItsPrecision) {
  const auto config = LoadModelConfig(folder_);
  ASSERT_TRUE(config.ok());
  const auto source = TensorSource::Open(folder_, *config);
  ASSERT_TRUE(source.ok());
  const bool int8 = subject_.precision == "int8";
  const auto products = int8 ? OnnxProducts::kInt8 : OnnxProducts::kFloat;
  const auto model = BertOnnxModel(*config, *source, {.products = products, .unsigned_codes = true});
  ASSERT_TRUE(model.ok());
  const std::string file = int8 ? "model_quint8_avx2.onnx" : "model.onnx";
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/onnx/" + file, *model).ok());
  const auto own = Make(kTiny), from_file = Make(folder_);
  ASSERT_TRUE(own != nullptr && from_file != nullptr);
  EXPECT_THAT(own->caps().details, HasSubstr("exported from the weights"));
  EXPECT_THAT(from_file->caps().details, HasSubstr(file));
  const EncodedPairs pairs = RandomPairs(12, 10, 100);
  EXPECT_LE(Farthest(Score(own.get(), BatchOf(pairs, 0, 10)), Score(from_file.get(), BatchOf(pairs, 0, 10))),
            1e-5);
}

TEST_F(OnnxFiles, AFileThatDropsTokenTypesIsRefused) {
  OnnxWriter writer;
  for (const char* name : {"input_ids", "attention_mask"})
    writer.Input(name, OnnxWriter::kInt64, {"batch", "sequence"});
  const std::string sum = writer.Node("Add", {"input_ids", "attention_mask"});
  writer.Output("logits", writer.Node("Cast", {sum}, {{"to", int64_t{OnnxWriter::kFloat}}}),
                {"batch", "sequence"});
  for (const char* file : {"model.onnx", "model_quint8_avx2.onnx"})
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/onnx/" + file, writer.Finish(20)).ok());
  const Status status = TryMake(folder_).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("has only the inputs input_ids, attention_mask"));
}

TEST_F(OnnxFiles, ABrokenFileIsNamed) {
  for (const char* file : {"model.onnx", "model_quint8_avx2.onnx"})
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/onnx/" + file, "no protobuf").ok());
  EXPECT_THAT(TryMake(folder_).status().message(), HasSubstr(folder_ + "/onnx/model"));
}

}  // namespace
}  // namespace rerankd

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  using namespace rerankd;
  const Subject subject = TheSubject();
  const Verdict verdict = Judge(subject, [&] { return MakeBackends(subject, kTiny).status(); });
  const std::string reason = subject.backend + ": " + verdict.reason;
  if (verdict.standing == Standing::kBroken) {
    std::cout << "BACKEND BROKEN: " << reason << "\n";
    return 1;
  }
  if (verdict.standing == Standing::kAbsent) {
    std::cout << "BACKEND SKIPPED: " << reason << "\n";
    return 77;  // tests/backends/CMakeLists.txt
  }
  std::cout << reason << "\n";
  return RUN_ALL_TESTS();
}
