#include "model/random_bert.h"

#include <fmt/format.h>

#include <cstring>
#include <random>
#include <vector>

namespace rerankd {
namespace {

// Collects tensors and lays them out as a safetensors file: length of the header, header, data.
class FileBuilder {
 public:
  explicit FileBuilder(uint32_t seed) : engine_(seed) {}

  void Add(const std::string& name, const std::vector<int>& shape, float mean, float spread) {
    size_t count = 1;
    std::string dims;
    for (const int d : shape) {
      count *= static_cast<size_t>(d);
      dims += (dims.empty() ? "" : ",") + std::to_string(d);
    }
    const size_t start = data_.size();
    std::uniform_real_distribution<float> uniform(mean - 1.7F * spread, mean + 1.7F * spread);
    data_.resize(start + count * sizeof(float));
    for (size_t i = 0; i < count; ++i) {
      const float value = uniform(engine_);
      std::memcpy(data_.data() + start + i * sizeof(float), &value, sizeof(float));
    }
    header_ += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})",
                           header_.empty() ? "" : ",", name, dims, start, data_.size());
  }
  void AddDense(const std::string& name, int outputs, int inputs) {
    Add(name + ".weight", {outputs, inputs}, 0, 0.06F);
    Add(name + ".bias", {outputs}, 0, 0.1F);
  }
  void AddNorm(const std::string& name, int width) {
    Add(name + ".weight", {width}, 1, 0.1F);
    Add(name + ".bias", {width}, 0, 0.1F);
  }

  std::string Finish() const {
    std::string header = "{" + header_ + "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t size = header.size();
    std::string file(sizeof(size), '\0');
    std::memcpy(file.data(), &size, sizeof(size));
    return file + header + data_;
  }

 private:
  std::mt19937 engine_;
  std::string header_, data_;
};

std::string_view ActivationKey(HiddenActivation activation) {
  switch (activation) {
    case HiddenActivation::kGeluTanh:
      return "gelu_new";
    case HiddenActivation::kRelu:
      return "relu";
    case HiddenActivation::kGelu:
      break;
  }
  return "gelu";
}

}  // namespace

ModelConfig MiniLmConfig() {
  ModelConfig config;
  config.hidden_size = 384;
  config.num_layers = 6;
  config.num_heads = 12;
  config.intermediate_size = 1536;
  config.vocab_size = 30522;
  config.max_positions = 512;
  config.type_vocab_size = 2;
  config.labels = {"LABEL_0"};
  return config;
}

std::string RandomBertFile(const ModelConfig& c, uint32_t seed) {
  FileBuilder file(seed);
  const int hidden = c.hidden_size;
  file.Add("bert.embeddings.word_embeddings.weight", {c.vocab_size, hidden}, 0, 0.5F);
  file.Add("bert.embeddings.position_embeddings.weight", {c.max_positions, hidden}, 0, 0.2F);
  file.Add("bert.embeddings.token_type_embeddings.weight", {c.type_vocab_size, hidden}, 0, 0.2F);
  file.AddNorm("bert.embeddings.LayerNorm", hidden);
  for (int i = 0; i < c.num_layers; ++i) {
    const std::string layer = "bert.encoder.layer." + std::to_string(i) + ".";
    for (const char* name :
         {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"})
      file.AddDense(layer + name, hidden, hidden);
    file.AddDense(layer + "intermediate.dense", c.intermediate_size, hidden);
    file.AddDense(layer + "output.dense", hidden, c.intermediate_size);
    file.AddNorm(layer + "attention.output.LayerNorm", hidden);
    file.AddNorm(layer + "output.LayerNorm", hidden);
  }
  file.AddDense("bert.pooler.dense", hidden, hidden);
  file.AddDense("classifier", c.num_labels, hidden);
  return file.Finish();
}

std::string ConfigJson(const ModelConfig& c) {
  std::string labels;
  for (int i = 0; i < c.num_labels; ++i)
    labels += fmt::format(R"({}"{}":"LABEL_{}")", i == 0 ? "" : ",", i, i);
  return fmt::format(
      R"({{"architectures":["BertForSequenceClassification"],"model_type":"bert","hidden_size":{},)"
      R"("num_hidden_layers":{},"num_attention_heads":{},"intermediate_size":{},"vocab_size":{},)"
      R"("max_position_embeddings":{},"type_vocab_size":{},"layer_norm_eps":1e-12,"hidden_act":"{}",)"
      R"("id2label":{{{}}}}})",
      c.hidden_size, c.num_layers, c.num_heads, c.intermediate_size, c.vocab_size, c.max_positions,
      c.type_vocab_size, ActivationKey(c.hidden_activation), labels);
}

}  // namespace rerankd
