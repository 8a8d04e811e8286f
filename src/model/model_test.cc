// The encoder against a direct transcription of the paper in double precision, for every kernel set that runs
// here or is emulated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/testing/kernel_sets.h"
#include "model/bert.h"
#include "model/random_bert.h"

namespace rerankd {
namespace {

using Row = std::vector<double>;
using Matrix = std::vector<Row>;  // [tokens][width]

ModelConfig SmallConfig() {
  ModelConfig config;
  config.hidden_size = 64;
  config.num_layers = 3;
  config.num_heads = 4;
  config.intermediate_size = 100;
  config.vocab_size = 97;
  config.max_positions = 60;
  config.type_vocab_size = 2;
  config.labels = {"LABEL_0"};
  return config;
}

struct Model {
  ModelConfig config;
  std::string file;

  explicit Model(const ModelConfig& c, uint32_t seed = 5) : config(c), file(RandomBertFile(c, seed)) {}

  TensorSource Source() const {
    Result<SafeTensors> tensors = SafeTensors::Parse(std::as_bytes(std::span(file)), "random.safetensors");
    EXPECT_TRUE(tensors.ok()) << tensors.status().ToString();
    return TensorSource(std::move(*tensors), WeightStorage::kFloat);
  }
  std::shared_ptr<const BertWeights> Weights(const KernelSet& kernels,
                                             Precision precision = Precision::kFp32) const {
    auto weights = MakeBertWeights(config, Source(), kernels, GemmProvider::kOwn, precision);
    EXPECT_TRUE(weights.ok()) << weights.status().ToString();
    return *weights;
  }
};

// The paper, one pair at a time, every token in every layer.
class Reference {
 public:
  explicit Reference(const Model& model) : c_(model.config), source_(model.Source()) {}

  std::vector<double> Logits(const EncodedPair& pair) const {
    Matrix x = Embed(pair);
    for (int i = 0; i < c_.num_layers; ++i) x = Layer("bert.encoder.layer." + std::to_string(i) + ".", x);
    Row pooled = Dense("bert.pooler.dense", c_.hidden_size, {x[0]})[0];
    for (double& v : pooled) v = std::tanh(v);
    return Dense("classifier", c_.num_labels, {pooled})[0];
  }

 private:
  std::vector<float> Read(const std::string& name, const Shape& shape) const {
    auto values = source_.ReadFloats(name, shape);
    EXPECT_TRUE(values.ok()) << values.status().ToString();
    return *values;
  }

  Matrix Dense(const std::string& name, int outputs, const Matrix& x) const {
    const int inputs = static_cast<int>(x[0].size());
    const std::vector<float> w = Read(name + ".weight", {outputs, inputs});
    const std::vector<float> b = Read(name + ".bias", {outputs});
    Matrix y(x.size(), Row(static_cast<size_t>(outputs)));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t o = 0; o < y[t].size(); ++o) {
        y[t][o] = b[o];
        for (size_t i = 0; i < x[t].size(); ++i) y[t][o] += x[t][i] * w[o * x[t].size() + i];
      }
    }
    return y;
  }

  void Norm(const std::string& name, Matrix* x) const {
    const std::vector<float> gamma = Read(name + ".weight", {c_.hidden_size});
    const std::vector<float> beta = Read(name + ".bias", {c_.hidden_size});
    for (Row& row : *x) {
      double mean = 0, variance = 0;
      for (double v : row) mean += v / static_cast<double>(row.size());
      for (double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
      for (size_t i = 0; i < row.size(); ++i)
        row[i] = (row[i] - mean) / std::sqrt(variance + double{c_.layer_norm_eps}) * gamma[i] + beta[i];
    }
  }

  static void Add(const Matrix& from, Matrix* to) {
    for (size_t t = 0; t < to->size(); ++t) {
      for (size_t i = 0; i < (*to)[t].size(); ++i) (*to)[t][i] += from[t][i];
    }
  }

  double Activate(double x) const {
    if (c_.hidden_activation == HiddenActivation::kRelu) return std::max(x, 0.0);
    if (c_.hidden_activation == HiddenActivation::kGeluTanh)
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  }

  Matrix Embed(const EncodedPair& pair) const {
    const size_t hidden = static_cast<size_t>(c_.hidden_size);
    const auto words = Read("bert.embeddings.word_embeddings.weight", {c_.vocab_size, c_.hidden_size});
    const auto positions =
        Read("bert.embeddings.position_embeddings.weight", {c_.max_positions, c_.hidden_size});
    const auto types =
        Read("bert.embeddings.token_type_embeddings.weight", {c_.type_vocab_size, c_.hidden_size});
    Matrix x(pair.ids.size(), Row(hidden));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t i = 0; i < hidden; ++i) {
        x[t][i] = double{words[static_cast<size_t>(pair.ids[t]) * hidden + i]} + positions[t * hidden + i] +
                  types[pair.type_ids[t] * hidden + i];
      }
    }
    Norm("bert.embeddings.LayerNorm", &x);
    return x;
  }

  Matrix Attend(const Matrix& q, const Matrix& k, const Matrix& v) const {
    const size_t size = static_cast<size_t>(c_.head_size());
    Matrix out(q.size(), Row(q[0].size()));
    for (size_t h = 0; h < q[0].size(); h += size) {
      for (size_t t = 0; t < q.size(); ++t) {
        Row p(k.size());
        for (size_t j = 0; j < k.size(); ++j) {
          for (size_t d = h; d < h + size; ++d) p[j] += q[t][d] * k[j][d];
          p[j] = std::exp(p[j] / std::sqrt(static_cast<double>(size)));
        }
        double sum = 0;
        for (double e : p) sum += e;
        for (size_t j = 0; j < k.size(); ++j) {
          for (size_t d = h; d < h + size; ++d) out[t][d] += p[j] / sum * v[j][d];
        }
      }
    }
    return out;
  }

  Matrix Layer(const std::string& name, Matrix x) const {
    const int hidden = c_.hidden_size;
    const Matrix context =
        Attend(Dense(name + "attention.self.query", hidden, x), Dense(name + "attention.self.key", hidden, x),
               Dense(name + "attention.self.value", hidden, x));
    Add(Dense(name + "attention.output.dense", hidden, context), &x);
    Norm(name + "attention.output.LayerNorm", &x);
    Matrix wide = Dense(name + "intermediate.dense", c_.intermediate_size, x);
    for (Row& row : wide) {
      for (double& value : row) value = Activate(value);
    }
    Add(Dense(name + "output.dense", hidden, wide), &x);
    Norm(name + "output.LayerNorm", &x);
    return x;
  }

  const ModelConfig& c_;
  TensorSource source_;
};

// Random pairs: the first third of each is query (type 0).
struct Pairs {
  EncodedPairs encoded;
  std::vector<EncodedPair> views;

  Pairs(const ModelConfig& config, const std::vector<int>& lengths, uint32_t seed = 3) {
    std::mt19937 engine(seed);
    std::uniform_int_distribution<int> id(0, config.vocab_size - 1);
    for (const int length : lengths) {
      for (int t = 0; t < length; ++t) encoded.PushToken(id(engine), t * 3 >= length ? 1 : 0);
      encoded.ClosePair(length);
    }
    for (int i = 0; i < encoded.size(); ++i) views.push_back(encoded[i]);
  }
};

std::vector<float> Forward(Bert& bert, std::span<const EncodedPair> pairs) {
  std::vector<float> logits(pairs.size() * static_cast<size_t>(bert.config().num_labels));
  const Status status = bert.Forward(pairs, CancelFlag(), logits);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return logits;
}

void ExpectLikeThePaper(const KernelSet& kernels, const ModelConfig& config) {
  const Model model(config);
  const Reference reference(model);
  Bert bert(model.Weights(kernels), 256);
  const Pairs pairs(config, {9, 1, 60, 17, 32});
  const std::vector<float> logits = Forward(bert, pairs.views);
  const size_t labels = static_cast<size_t>(config.num_labels);
  for (size_t i = 0; i < pairs.views.size(); ++i) {
    const std::vector<double> expected = reference.Logits(pairs.views[i]);
    // The project's parity bound is 1e-4; a stack this small stays far below it.
    for (size_t l = 0; l < labels; ++l)
      EXPECT_NEAR(logits[i * labels + l], expected[l], 2e-5) << kernels.name << " pair " << i;
  }
}

class ModelTest : public testing::TestWithParam<const KernelSet*> {};

INSTANTIATE_TEST_SUITE_P(Isa, ModelTest, testing::ValuesIn(TestedSets()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST_P(ModelTest, ComputesWhatThePaperSays) { ExpectLikeThePaper(*GetParam(), SmallConfig()); }

TEST_P(ModelTest, EveryActivationOfTheConfig) {
  for (const auto activation : {HiddenActivation::kGeluTanh, HiddenActivation::kRelu}) {
    ModelConfig config = SmallConfig();
    config.hidden_activation = activation;
    ExpectLikeThePaper(*GetParam(), config);
  }
}

TEST_P(ModelTest, AnyDepthWidthHeadsAndLabels) {
  ModelConfig config = SmallConfig();
  config.num_layers = 1;
  config.num_labels = 3;
  ExpectLikeThePaper(*GetParam(), config);
  config.num_heads = 8;  // head size 8
  config.num_layers = 2;
  config.intermediate_size = 33;
  ExpectLikeThePaper(*GetParam(), config);
  config.hidden_size = 120;
  config.num_heads = 5;  // head size 24
  ExpectLikeThePaper(*GetParam(), config);
  config.num_heads = 1;
  config.type_vocab_size = 4;
  ExpectLikeThePaper(*GetParam(), config);
}

void ExpectCloseToThePaper(const KernelSet& kernels, Precision precision, double tolerance) {
  const ModelConfig config = SmallConfig();
  const Model model(config);
  const Reference reference(model);
  Bert bert(model.Weights(kernels, precision), 256);
  const Pairs pairs(config, {9, 1, 60, 17, 32});
  const std::vector<float> logits = Forward(bert, pairs.views);
  for (size_t i = 0; i < pairs.views.size(); ++i)
    EXPECT_NEAR(logits[i], reference.Logits(pairs.views[i])[0], tolerance) << i;
}

// Rounding to 7 or 8 bits moves logits by some hundredths here; a wrong scale, zero point or sum by far more.
TEST_P(ModelTest, Int8StaysCloseToThePaper) { ExpectCloseToThePaper(*GetParam(), Precision::kInt8, 0.05); }

// A unit of bf16 is 2^-8 of a value, half of it what rounding costs: less than the steps of int8, whose size
// is that of the row's largest value.
TEST_P(ModelTest, Bf16StaysCloseToThePaper) {
  if (GetParam()->bf16_gemm == nullptr) GTEST_SKIP() << GetParam()->name << " has no products in bf16";
  ExpectCloseToThePaper(*GetParam(), Precision::kBf16, 0.02);
}

void ExpectBitEqualAnywhere(const KernelSet& kernels, Precision precision) {
  ModelConfig config = SmallConfig();
  config.max_positions = 200;
  const Model model(config);
  Bert bert(model.Weights(kernels, precision), 2000);
  std::vector<int> lengths;
  for (int i = 1; i <= 60; ++i) lengths.push_back(i * 37 % 97 + 1);
  Pairs pairs(config, lengths);
  std::vector<float> alone;
  for (const EncodedPair& pair : pairs.views) alone.push_back(Forward(bert, {&pair, 1})[0]);
  std::vector<size_t> order(pairs.views.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 engine(1);
  const int rounds = RowStep(kernels) == 1 ? 40 : 8;  // slow sets: fewer
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), engine);
    std::vector<EncodedPair> batch;
    for (size_t i = 0; i <= engine() % 25; ++i) batch.push_back(pairs.views[order[i]]);
    const std::vector<float> logits = Forward(bert, batch);
    for (size_t i = 0; i < batch.size(); ++i)
      ASSERT_EQ(std::memcmp(&logits[i], &alone[order[i]], sizeof(float)), 0) << "round " << round;
  }
}

TEST_P(ModelTest, APairIsBitEqualInEveryBatchAndPlace) {
  ExpectBitEqualAnywhere(*GetParam(), Precision::kFp32);
  ExpectBitEqualAnywhere(*GetParam(), Precision::kInt8);
  if (GetParam()->bf16_gemm != nullptr) ExpectBitEqualAnywhere(*GetParam(), Precision::kBf16);
}

TEST(ModelErrorsTest, PairsThatTheTablesCannotHoldAreRefused) {
  const Model model(SmallConfig());
  Bert bert(model.Weights(*RunningSets().back()), 128);
  std::vector<int32_t> ids(61, 5);
  std::vector<uint8_t> types(61, 1);
  const auto check = [&](size_t n) {
    return CheckPair(bert.config(), {std::span(ids).first(n), std::span(types).first(n)});
  };
  EXPECT_TRUE(check(60).ok());
  EXPECT_THAT(check(61).message(), testing::HasSubstr("61 tokens; the model reads at most 60"));
  EXPECT_EQ(check(0).code(), Code::kInvalidArgument);
  EXPECT_EQ(CheckPair(bert.config(), {std::span(ids).first(3), std::span(types).first(2)}).code(),
            Code::kInvalidArgument);
  ids[1] = 97;
  EXPECT_THAT(check(2).message(), testing::HasSubstr("token id 97; the model has 97"));
  ids[1] = -1;
  EXPECT_EQ(check(2).code(), Code::kInvalidArgument);
  EXPECT_TRUE(check(1).ok());
  ids[1] = 96;
  types[0] = 2;
  EXPECT_THAT(check(2).message(), testing::HasSubstr("token type 2; the model has 2"));
}

TEST(ModelErrorsTest, CancellationIsSeenBetweenLayers) {
  const Model model(SmallConfig());
  Bert bert(model.Weights(*RunningSets().back()), 128);
  const Pairs pairs(model.config, {5});
  std::vector<float> logits(1);
  const CancelFlag cancel;
  cancel.Cancel();
  EXPECT_EQ(bert.Forward(pairs.views, cancel, logits).code(), Code::kCancelled);
}

TEST(ModelErrorsTest, AMissingOrMisshapenTensorIsNamed) {
  Model model(SmallConfig());
  const auto load = [&] {
    return MakeBertWeights(model.config, model.Source(), *RunningSets().back(), GemmProvider::kOwn).status();
  };
  model.config.num_layers = 4;
  EXPECT_THAT(load().message(), testing::HasSubstr("bert.encoder.layer.3."));
  model.config = SmallConfig();
  model.config.intermediate_size = 99;
  EXPECT_THAT(load().message(), testing::HasSubstr("bert.encoder.layer.0.intermediate.dense.weight"));
  model.config = SmallConfig();
  model.config.vocab_size = 98;
  EXPECT_THAT(load().message(), testing::HasSubstr("word_embeddings"));
}

TEST(ModelErrorsTest, AnEmbeddingThatIsNotFiniteIsAnError) {
  Model model(SmallConfig());
  const float nan = std::nanf("");
  const size_t start = model.file.find("}}") + 2;
  std::memcpy(model.file.data() + (start + 7) / 8 * 8 + 400, &nan, sizeof(nan));
  const Status status =
      MakeBertWeights(model.config, model.Source(), *RunningSets().back(), GemmProvider::kOwn).status();
  EXPECT_THAT(status.message(), testing::HasSubstr("word_embeddings"));
}

}  // namespace
}  // namespace rerankd
