#include "weights/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "weights/test_files.h"

namespace rerankd {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json MiniLm() {
  return {{"architectures", {"BertForSequenceClassification"}},
          {"model_type", "bert"},
          {"hidden_act", "gelu"},
          {"hidden_size", 384},
          {"id2label", {{"0", "LABEL_0"}}},
          {"intermediate_size", 1536},
          {"layer_norm_eps", 1e-12},
          {"max_position_embeddings", 512},
          {"num_attention_heads", 12},
          {"num_hidden_layers", 6},
          {"position_embedding_type", "absolute"},
          {"type_vocab_size", 2},
          {"vocab_size", 30522}};
}

Result<ModelConfig> Parse(const json& config) { return ParseModelConfig(config.dump(), "config.json"); }

// MiniLM with `key` set to `value`.
Result<ModelConfig> With(const char* key, const json& value) {
  json config = MiniLm();
  config[key] = value;
  return Parse(config);
}

std::string ErrorWith(const char* key, const json& value) { return With(key, value).status().message(); }

TEST(ModelConfig, ReadsAMiniLm) {
  const auto config = Parse(MiniLm());
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->hidden_size, 384);
  EXPECT_EQ(config->num_layers, 6);
  EXPECT_EQ(config->num_heads, 12);
  EXPECT_EQ(config->head_size(), 32);
  EXPECT_EQ(config->intermediate_size, 1536);
  EXPECT_EQ(config->vocab_size, 30522);
  EXPECT_EQ(config->max_positions, 512);
  EXPECT_EQ(config->type_vocab_size, 2);
  EXPECT_FLOAT_EQ(config->layer_norm_eps, 1e-12F);
  EXPECT_EQ(config->hidden_activation, HiddenActivation::kGelu);
  EXPECT_EQ(config->storage, WeightStorage::kFloat);
  EXPECT_THAT(config->labels, ElementsAre("LABEL_0"));
}

TEST(ModelConfig, KnowsTheHiddenActivations) {
  EXPECT_EQ(With("hidden_act", "gelu_new")->hidden_activation, HiddenActivation::kGeluTanh);
  EXPECT_EQ(With("hidden_act", "gelu_pytorch_tanh")->hidden_activation, HiddenActivation::kGeluTanh);
  EXPECT_EQ(With("hidden_act", "relu")->hidden_activation, HiddenActivation::kRelu);
  EXPECT_THAT(ErrorWith("hidden_act", "silu"), AllOf(HasSubstr("'silu'"), HasSubstr("gelu_pytorch_tanh")));
}

TEST(ModelConfig, ScoresOfOneLabelAreSigmoidsUnlessTheModelSaysOtherwise) {
  EXPECT_EQ(Parse(MiniLm())->activation, Activation::kSigmoid);
  EXPECT_EQ(With("id2label", {{"0", "a"}, {"1", "b"}})->activation, Activation::kRaw);
  const auto section = [](const char* path) {
    return With("sentence_transformers", {{"activation_fn", path}, {"version", "5.2.3"}});
  };
  EXPECT_EQ(section("torch.nn.modules.linear.Identity")->activation, Activation::kRaw);
  EXPECT_EQ(section("torch.nn.modules.activation.Sigmoid")->activation, Activation::kSigmoid);
  EXPECT_EQ(section("their.own.Identity")->activation, Activation::kSigmoid);
  EXPECT_THAT(section("torch.nn.modules.activation.Tanh").status().message(), HasSubstr("Tanh"));
}

TEST(ModelConfig, ReadsTheOlderActivationKeyWhereTheNewOneIsAbsent) {
  const char* old_key = "sbert_ce_default_activation_function";
  EXPECT_EQ(With(old_key, "torch.nn.modules.linear.Identity")->activation, Activation::kRaw);
  EXPECT_EQ(With(old_key, nullptr)->activation, Activation::kSigmoid);
  json both = MiniLm();
  both[old_key] = "torch.nn.modules.linear.Identity";
  both["sentence_transformers"] = {{"activation_fn", "torch.nn.modules.activation.Sigmoid"}};
  EXPECT_EQ(Parse(both)->activation, Activation::kSigmoid);
}

TEST(ModelConfig, CountsLabels) {
  EXPECT_EQ(With("id2label", {{"0", "no"}, {"2", "yes"}, {"1", "maybe"}})->num_labels, 3);
  EXPECT_THAT(With("id2label", {{"0", "no"}, {"2", "yes"}, {"1", "maybe"}})->labels,
              ElementsAre("no", "maybe", "yes"));
  EXPECT_THAT(ErrorWith("id2label", {{"0", "no"}, {"2", "yes"}}), HasSubstr("none for \"1\""));
  EXPECT_THAT(ErrorWith("id2label", json::object()), HasSubstr("id2label"));
  json config = MiniLm();
  config.erase("id2label");
  EXPECT_EQ(Parse(config)->num_labels, 2);  // what transformers assumes
  config["num_labels"] = 1;
  EXPECT_THAT(Parse(config)->labels, ElementsAre("LABEL_0"));
}

TEST(ModelConfig, RefusesWhatItCannotRunAndSaysWhatItCan) {
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, json>>{{"architectures", {"RobertaForSequenceClassification"}},
                                                 {"architectures", {"BertModel"}},
                                                 {"architectures", json::array()},
                                                 {"architectures", nullptr},
                                                 {"model_type", "xlm-roberta"},
                                                 {"position_embedding_type", "relative_key"},
                                                 {"is_decoder", true}}) {
    const Status status = With(key, value).status();
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << key << " " << value;
    EXPECT_THAT(status.message(), HasSubstr("support")) << value;
  }
}

TEST(ModelConfig, RefusesSizesOutOfBounds) {
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                          "vocab_size", "max_position_embeddings", "type_vocab_size"}) {
    for (const json& value : {json(0), json(-1), json(1.5), json("384"), json(1ULL << 40), json(nullptr)}) {
      const Status status = With(key, value).status();
      EXPECT_EQ(status.code(), Code::kInvalidArgument) << key << " " << value;
      EXPECT_THAT(status.message(), AllOf(HasSubstr("config.json"), HasSubstr(key)));
    }
  }
  EXPECT_THAT(ErrorWith("num_attention_heads", 7), HasSubstr("(7) does not divide 'hidden_size' (384)"));
  EXPECT_THAT(ErrorWith("layer_norm_eps", 0), HasSubstr("layer_norm_eps"));
  EXPECT_THAT(ErrorWith("layer_norm_eps", "tiny"), HasSubstr("layer_norm_eps"));
}

TEST(ModelConfig, KnowsItsOwnQuantisationOnly) {
  EXPECT_EQ(With("quantization_config", {{"quant_method", "rerankd-int8"}})->storage, WeightStorage::kInt8);
  EXPECT_THAT(ErrorWith("quantization_config", {{"quant_method", "gptq"}}),
              AllOf(HasSubstr("gptq"), HasSubstr("rerankd-int8")));
  EXPECT_THAT(ErrorWith("quantization_config", json::object()), HasSubstr("rerankd-int8"));
  EXPECT_THAT(ErrorWith("quantization_config", 8), HasSubstr("rerankd-int8"));
}

TEST(ModelConfig, RefusesBrokenFiles) {
  EXPECT_EQ(ParseModelConfig("{", "c").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ParseModelConfig("[]", "c").status().code(), Code::kInvalidArgument);
  EXPECT_THAT(ParseModelConfig(R"({"a":1,"a":2})", "c").status().message(), HasSubstr("twice"));
  const testing::TemporaryFolder folder;
  EXPECT_EQ(LoadModelConfig(folder.path()).status().code(), Code::kNotFound);
}

TEST(ModelConfig, TheFileOfSentenceTransformersWins) {
  const testing::TemporaryFolder folder;
  json config = MiniLm();
  config["sentence_transformers"] = {{"activation_fn", "torch.nn.modules.activation.Sigmoid"}};
  folder.Write("config.json", config.dump());
  EXPECT_EQ(LoadModelConfig(folder.path())->activation, Activation::kSigmoid);
  folder.Write("config_sentence_transformers.json",
               R"({"activation_fn":"torch.nn.modules.linear.Identity"})");
  EXPECT_EQ(LoadModelConfig(folder.path())->activation, Activation::kRaw);
}

TEST(CheckVocabulary, RefusesAnotherModelsVocabulary) {
  const auto config = Parse(MiniLm());
  EXPECT_TRUE(CheckVocabulary(*config, 30522).ok());
  EXPECT_TRUE(CheckVocabulary(*config, 30500).ok());  // padded embeddings
  EXPECT_THAT(CheckVocabulary(*config, 30523).message(), AllOf(HasSubstr("30523"), HasSubstr("30522")));
  EXPECT_THAT(CheckVocabulary(*config, 15000).message(), HasSubstr("cut"));
}

}  // namespace
}  // namespace rerankd
