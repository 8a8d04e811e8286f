#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <thread>

#include "backends/fake/fake_backend.h"
#include "backends/native/native_backend.h"
#include "base/cpu.h"
#include "model/bert_cost.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kTiny = std::string(RERANKD_SOURCE_DIR) + "/tests/data/tiny-random";

Settings TinySettings(const std::string& backend = "native", const std::string& device = "cpu") {
  Settings settings;
  settings.instances[0].model = kTiny;
  settings.instances[0].backend = backend;
  settings.instances[0].device = device;
  settings.scheduler.max_queue_ms = 1e9;
  return settings;
}

std::unique_ptr<Engine> Make(const Settings& settings) {
  auto engine = Engine::Create(settings);
  EXPECT_TRUE(engine.ok()) << engine.status().ToString();
  return engine.ok() ? std::move(*engine) : nullptr;
}

Status Failure(const Settings& settings) { return Engine::Create(settings).status(); }

std::string RandomText(std::mt19937* random, int words) {
  static const std::vector<std::string> kWords = {"the", "cat",  "river", "of", "France", "10", "is",
                                                  "a",   "long", "word",  "in", "naïve",  "x",  "!?"};
  std::string text;
  for (int i = 0; i < words; ++i) text += kWords[(*random)() % kWords.size()] + " ";
  return text;
}

std::vector<std::string> RandomDocuments(uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i) documents.push_back(RandomText(&random, static_cast<int>(random() % 60)));
  return documents;
}

// The logits of `documents` from one backend alone, pair by pair.
std::vector<float> Directly(Backend* backend, const std::string& query,
                            const std::vector<std::string>& documents) {
  const auto tokenizer = LoadTokenizer(kTiny);
  PairOptions options;
  options.max_length = backend->caps().max_tokens;
  std::vector<int32_t> ids;
  (*tokenizer)->EncodeText(query, false, &ids);
  std::vector<float> logits;
  for (const std::string& document : documents) {
    EncodedPairs pairs;
    EXPECT_TRUE((*tokenizer)->AppendPair(ids, document, options, &pairs).ok());
    Batch batch;
    batch.Add(pairs[0]);
    float logit = 0;
    BatchStats stats;
    EXPECT_TRUE(backend->Score(batch, CancelFlag(), std::span(&logit, 1), &stats).ok());
    logits.push_back(logit);
  }
  return logits;
}

TEST(Engine, ScoresAsTheBackendDoesPairByPair) {
  const auto documents = RandomDocuments(1, 300);
  const auto model = NativeModel::Load(kTiny, "auto");
  ASSERT_TRUE(model.ok());
  const auto native = MakeNativeBackend(*model);
  FakeOptions options;
  options.max_tokens = 128;
  FakeBackend fake(options);
  const std::vector<std::pair<std::string, Backend*>> backends = {{"native", native.get()}, {"fake", &fake}};
  for (const auto& [name, backend] : backends) {
    Settings settings = TinySettings(name);
    settings.instances[0].threads = 3;
    const auto engine = Make(settings);
    const auto result = engine->Score(ScoreRequest::ForQuery("what is a cat", documents));
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    EXPECT_EQ(result->logits, Directly(backend, "what is a cat", documents)) << name;  // bit-equal
    EXPECT_EQ(result->counts.pairs + result->counts.duplicates, 300);
    EXPECT_EQ(result->counts.computed, result->counts.real);
    EXPECT_GT(result->timings.inference_ms, 0);
    EXPECT_GE(result->timings.total_ms, result->timings.inference_ms);
  }
}

TEST(Engine, CountsMultiplyAddsAndMeasuresThePeakWhenAsked) {
  const auto model = NativeModel::Load(kTiny, "fp32");
  ASSERT_TRUE(model.ok());
  const auto engine = Make(TinySettings());
  double expected = 0;
  for (const std::string& document : RandomDocuments(2, 5)) {
    const auto result = engine->Score(ScoreRequest::ForQuery("what is a cat", {document}));
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    expected += PairMultiplyAdds((*model)->config(), static_cast<double>(result->counts.real));
  }
  double counted = 0;
  for (const WorkerStats& worker : engine->stats().workers) counted += worker.multiply_adds;
  EXPECT_NEAR(counted, expected, expected * 1e-12);
  EXPECT_EQ(engine->stats().peak_multiply_adds_per_s, 0);
  engine->MeasurePeak();
  EXPECT_GT(engine->stats().peak_multiply_adds_per_s, 0);
  const auto fake = Make(TinySettings("fake"));
  fake->MeasurePeak();
  EXPECT_EQ(fake->stats().peak_multiply_adds_per_s, 0) << "not of our engine";
  Settings mixed = TinySettings();
  mixed.instances.push_back(mixed.instances[0]);
  mixed.instances[0].precision = "fp32";
  mixed.instances[1].precision = "int8";
  const auto both = Make(mixed);
  both->MeasurePeak();
  EXPECT_EQ(both->stats().peak_multiply_adds_per_s, 0) << "one peak for two precisions";
}

TEST(Engine, DescribesWhatRuns) {
  Settings settings = TinySettings();
  settings.instances[0].precision = "fp32";
  settings.instances.push_back(settings.instances[0]);
  settings.instances[1].threads = 2;
  settings.instances[1].max_length = 32;
  const auto engine = Make(settings);
  EXPECT_EQ(engine->model().directory, kTiny);
  EXPECT_EQ(engine->model().max_length, 128);  // the model's limit, not the asked 512
  EXPECT_EQ(engine->model().num_labels, 1);
  EXPECT_EQ(engine->tokenizer().vocab_size(), 512);
  ASSERT_EQ(engine->instances().size(), 2u);
  EXPECT_EQ(engine->instances()[0].workers, (WorkerThreads(0) + 1) / 2);
  EXPECT_EQ(engine->instances()[1].workers, 2);
  EXPECT_EQ(engine->instances()[1].name, "native-1");
  EXPECT_EQ(engine->instances()[0].caps.precision, "fp32");
  EXPECT_EQ(engine->stats().workers.size(), static_cast<size_t>(engine->instances()[0].workers + 2));
}

TEST(Engine, GivesEachInstanceItsOwnMaxLength) {
  Settings settings = TinySettings("fake");
  settings.instances.push_back(settings.instances[0]);
  settings.instances[1].max_length = 16;
  const auto engine = Make(settings);
  const std::vector<std::string> documents(1, std::string(400, 'x') +
                                                  " cat cat cat cat cat cat cat cat cat "
                                                  "cat cat cat cat cat cat cat cat cat");
  std::vector<int> longest;
  for (int i = 0; i < 2; ++i)  // round robin
    longest.push_back(engine->Score(ScoreRequest::ForQuery("cat", documents))->counts.longest);
  EXPECT_THAT(longest, testing::ElementsAre(testing::Gt(16), 16));
}

TEST(Engine, ServesSeveralModelsByName) {
  Settings settings = TinySettings();
  settings.instances.push_back(settings.instances[0]);
  settings.instances[1].model = std::string(RERANKD_SOURCE_DIR) + "/tests/data/labels3-f16";
  settings.instances[1].aliases = {"three-labels"};
  const auto engine = Make(settings);
  ASSERT_EQ(engine->models().size(), 2u);
  EXPECT_EQ(engine->model().name, kTiny);
  EXPECT_THAT(engine->models()[0].aliases, testing::ElementsAre("tiny-random"));
  EXPECT_THAT(engine->models()[1].aliases, testing::ElementsAre("three-labels", "labels3-f16"));
  EXPECT_EQ(engine->instances()[1].model, 1);
  const auto labels = [&](const std::string& model) {
    ScoreRequest request = ScoreRequest::ForQuery("what is a cat", {"a small animal"});
    request.model = model;
    const auto result = engine->Score(std::move(request));
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? result->logits.size() : 0;
  };
  EXPECT_EQ(labels(""), 1u);
  EXPECT_EQ(labels("tiny-random"), 1u);
  EXPECT_EQ(labels("three-labels"), 3u);
  EXPECT_EQ(labels(settings.instances[1].model), 3u);
  ScoreRequest unknown = ScoreRequest::ForQuery("q", {"d"});
  unknown.model = "three-label";
  const Status status = engine->Score(std::move(unknown)).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("did you mean 'three-labels'"), HasSubstr("tiny-random")));
  settings.instances[0].aliases = {"three-labels"};
  EXPECT_THAT(Failure(settings).message(), HasSubstr("alias 'three-labels'"));
}

TEST(Engine, ScoresLongDocumentsInWindows) {
  Settings settings = TinySettings();
  settings.documents.overflow = "max_window";
  settings.cache.scores_mib = 1;
  const auto engine = Make(settings);
  std::mt19937 random(5);
  const std::string text = RandomText(&random, 300);
  const auto windows = engine->Score(ScoreRequest::ForQuery("what is a cat", {text}));
  ASSERT_TRUE(windows.ok()) << windows.status().ToString();
  EXPECT_GT(windows->counts.pairs, 3);
  EXPECT_EQ(windows->truncated[0], 0);
  const auto cached = engine->Score(ScoreRequest::ForQuery("what is a cat", {text}));
  EXPECT_EQ(cached->logits, windows->logits);
  EXPECT_EQ(cached->counts.cached, 1);
  ScoreRequest cut = ScoreRequest::ForQuery("what is a cat", {text});
  cut.overflow.policy = Overflow::kTruncate;
  const auto truncated = engine->Score(std::move(cut));
  EXPECT_EQ(truncated->truncated[0], 1);
  EXPECT_EQ(truncated->counts.pairs, 1);
  EXPECT_GE(windows->logits[0], truncated->logits[0]);  // the first window is what truncation keeps
}

TEST(Engine, PassesTheFakeDevicesOptionsOn) {
  const auto engine = Make(TinySettings("fake", "fake:fail_every=1"));
  const auto result = engine->Score(ScoreRequest::ForQuery("q", {"d"}));
  EXPECT_EQ(result.status().code(), Code::kInternal);
  EXPECT_THAT(result.status().message(), AllOf(HasSubstr("fake-0"), HasSubstr("scripted failure")));
}

TEST(Engine, ALackOfMemoryIsNoInternalErrorAndTheInstanceGoesOn) {
  Settings settings = TinySettings("fake", "fake:out_of_memory_every=2");
  settings.instances[0].threads = 1;
  const auto engine = Make(settings);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(engine->Score(ScoreRequest::ForQuery("q", {"d"})).ok());
    const Status status = engine->Score(ScoreRequest::ForQuery("q", {"d"})).status();
    EXPECT_EQ(status.code(), Code::kResourceExhausted);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("fake-0"), HasSubstr("scripted lack of memory")));
  }
}

TEST(Engine, TokenizationOnlyNeedsNoBackend) {
  Settings settings = TinySettings("onnx");
  settings.pipeline_mode = "tokenization_only";
  const auto engine = Make(settings);
  const auto result = engine->Score(ScoreRequest::ForQuery("cat", RandomDocuments(1, 100)));
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->logits.empty());
  EXPECT_EQ(result->tokens.size(), 100u);
  EXPECT_GT(result->counts.real, 300);
  EXPECT_TRUE(engine->instances().empty());
}

TEST(Engine, InferenceOnlyRunsTheModelOnSyntheticIds) {
  Settings settings = TinySettings("fake");
  settings.pipeline_mode = "inference_only";
  const auto engine = Make(settings);
  const auto result = engine->Score(ScoreRequest::ForQuery("0123456789", {"0123456789", "x", ""}));
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(result->tokens, testing::Each(5));
  EXPECT_EQ(result->logits.size(), 3u);
}

TEST(Engine, SaysWhatIsMissingAndTheWayOut) {
  const Status absent = Failure(TinySettings("onnx"));
  EXPECT_EQ(absent.code(), Code::kFailedPrecondition);
  EXPECT_THAT(absent.message(),
              AllOf(HasSubstr("'onnx'"), HasSubstr("native (cpu)"), HasSubstr("--set model.backend=native")));
  const Status unknown = Failure(TinySettings("natve"));
  EXPECT_EQ(unknown.code(), Code::kInvalidArgument);
  EXPECT_THAT(unknown.message(), HasSubstr("did you mean 'native'"));
  EXPECT_EQ(Failure(TinySettings("native", "cuda")).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Failure(TinySettings("fake", "fake:x=1")).code(), Code::kInvalidArgument);

  Settings settings = TinySettings();
  settings.instances[0].model = "/nonexistent/model";
  EXPECT_THAT(Failure(settings).message(), HasSubstr("/nonexistent/model"));
  settings = TinySettings();
  settings.routing_strategy = "random";
  EXPECT_THAT(Failure(settings).message(), HasSubstr("'random'"));
  settings.routing_strategy = "least_busy";
  settings.pipeline_mode = "ful";
  EXPECT_THAT(Failure(settings).message(), HasSubstr("did you mean 'full'"));
  settings = TinySettings();
  settings.documents.overflow = "max_windw";
  EXPECT_THAT(Failure(settings).message(), HasSubstr("did you mean 'max_window'"));
  settings = TinySettings();
  settings.instances.clear();
  EXPECT_EQ(Failure(settings).code(), Code::kInvalidArgument);
}

TEST(Engine, RefusesATokenizerThatDoesNotFitTheModel) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "rerankd_engine_large_vocabulary";
  std::filesystem::create_directories(folder);
  std::filesystem::copy(
      kTiny, folder,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(folder / "tokenizer.json");
  std::ofstream(folder / "vocab.txt", std::ios::app) << "one\ntwo\ntoo\n";
  Settings settings = TinySettings();
  settings.instances[0].model = folder.string();
  const Status status = Failure(settings);
  EXPECT_THAT(status.message(), HasSubstr("512")) << status.ToString();
  std::filesystem::remove_all(folder);
}

TEST(Engine, AnswersEverythingAdmittedWhenDrainedUnderLoad) {
  const auto engine = Make(TinySettings("fake", "fake:ms_per_token=0.002"));
  std::atomic<int> admitted{0}, completed{0}, refused{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c)
    clients.emplace_back([&, c] {
      for (int i = 0; i < 50; ++i) {
        const Status status = engine->Submit(
            ScoreRequest::ForQuery("q", RandomDocuments(static_cast<uint32_t>(c * 50 + i), 20)),
            [&](const Result<ScoreResult>& result) { completed += result.ok(); });
        ++(status.ok() ? admitted : refused);
        EXPECT_TRUE(status.ok() || status.code() == Code::kUnavailable);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  engine->Drain();
  const int at_drain = completed;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(completed, admitted);
  EXPECT_EQ(completed, at_drain);
  EXPECT_GT(admitted, 0);
  EXPECT_EQ(admitted + refused, 200);
}

TEST(LoadModelTokenizer, NeedsNoWeights) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "rerankd_engine_tokenizer_only";
  std::filesystem::create_directories(folder);
  for (const char* name : {"config.json", "tokenizer.json"})
    std::filesystem::copy_file(std::filesystem::path(kTiny) / name, folder / name,
                               std::filesystem::copy_options::overwrite_existing);
  Settings settings = TinySettings();
  settings.instances[0].model = folder.string();
  EXPECT_EQ((*LoadModelTokenizer(settings))->vocab_size(), 512);
  EXPECT_FALSE(Engine::Create(settings).ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace rerankd
