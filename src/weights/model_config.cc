#include "weights/model_config.h"

#include <filesystem>

#include "weights/strict_json.h"

namespace rerankd {
namespace {

using nlohmann::json;

constexpr std::string_view kArchitecture = "BertForSequenceClassification";
constexpr int kMaxLabels = 4096;
// Vocabularies are padded to a multiple of up to this many rows; more unused rows mean a wrong vocabulary.
constexpr int kMaxUnusedRows = 1024;

// One configuration under examination; every message starts with its source.
class Reader {
 public:
  Reader(const json& config, const std::string& source) : config_(config), source_(source) {}

  Status Invalid(const std::string& message) const {
    return InvalidArgument("'" + source_ + "': " + message);
  }
  Status Unsupported(const std::string& message) const {
    return FailedPrecondition("'" + source_ + "': " + message);
  }

  // The value of `key`; null where it is absent or null.
  const json* Find(const char* key) const {
    const auto it = config_.find(key);
    return it == config_.end() || it->is_null() ? nullptr : &*it;
  }

  Status ReadInt(const char* key, int low, int high, int* out) const {
    const json* value = Find(key);
    const std::string range = std::to_string(low) + " to " + std::to_string(high);
    if (value == nullptr)
      return Invalid(std::string("'") + key + "' is missing; expected a whole number, " + range);
    if (!value->is_number_unsigned() || value->get<uint64_t>() < static_cast<uint64_t>(low) ||
        value->get<uint64_t>() > static_cast<uint64_t>(high))
      return Invalid(std::string("'") + key + "' is " + BriefJson(*value) + "; expected a whole number, " +
                     range);
    *out = value->get<int>();
    return {};
  }

  // The text of `key`, `fallback` where it is absent.
  Result<std::string> ReadText(const char* key, const std::string& fallback) const {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return Invalid(std::string("'") + key + "' must be a text");
    return value->get<std::string>();
  }

  Status RequireText(const char* key, const std::string& fallback, std::string_view supported) const {
    RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadText(key, fallback));
    if (text == supported) return {};
    return Unsupported(std::string("'") + key + "' is '" + text + "'; supported is '" +
                       std::string(supported) + "'");
  }

 private:
  const json& config_;
  const std::string& source_;
};

Status CheckArchitecture(const Reader& in) {
  const json* list = in.Find("architectures");
  const bool one = list != nullptr && list->is_array() && list->size() == 1 && (*list)[0].is_string();
  if (!one)
    return in.Unsupported("'architectures' must be the one that is supported: [\"" +
                          std::string(kArchitecture) + "\"]");
  if (const auto name = (*list)[0].get<std::string>(); name != kArchitecture)
    return in.Unsupported("the architecture is '" + name + "'; supported is '" + std::string(kArchitecture) +
                          "', a BERT cross-encoder");
  RERANKD_RETURN_IF_ERROR(in.RequireText("model_type", "bert", "bert"));
  RERANKD_RETURN_IF_ERROR(in.RequireText("position_embedding_type", "absolute", "absolute"));
  const json* decoder = in.Find("is_decoder");
  if (decoder != nullptr && *decoder != false)
    return in.Unsupported("decoders ('is_decoder') are not supported");
  return {};
}

Status ReadSizes(const Reader& in, ModelConfig* config) {
  RERANKD_RETURN_IF_ERROR(in.ReadInt("hidden_size", 1, 8192, &config->hidden_size));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("num_hidden_layers", 1, 128, &config->num_layers));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("num_attention_heads", 1, 512, &config->num_heads));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("intermediate_size", 1, 65536, &config->intermediate_size));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("vocab_size", 1, 4 << 20, &config->vocab_size));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("max_position_embeddings", 4, 65536, &config->max_positions));
  RERANKD_RETURN_IF_ERROR(in.ReadInt("type_vocab_size", 2, 64, &config->type_vocab_size));
  if (config->hidden_size % config->num_heads == 0) return {};
  return in.Invalid("'num_attention_heads' (" + std::to_string(config->num_heads) +
                    ") does not divide 'hidden_size' (" + std::to_string(config->hidden_size) + ")");
}

Status ReadEpsilon(const Reader& in, ModelConfig* config) {
  const json* value = in.Find("layer_norm_eps");
  if (value == nullptr) return {};
  const bool number = value->is_number();
  if (!number || value->get<double>() <= 0 || value->get<double>() > 0.1)
    return in.Invalid("'layer_norm_eps' is " + BriefJson(*value) +
                      "; expected a number above 0, at most 0.1");
  config->layer_norm_eps = value->get<float>();
  return {};
}

Status ReadHiddenActivation(const Reader& in, ModelConfig* config) {
  RERANKD_ASSIGN_OR_RETURN(const std::string name, in.ReadText("hidden_act", "gelu"));
  if (name == "gelu") {
    config->hidden_activation = HiddenActivation::kGelu;
  } else if (name == "gelu_new" || name == "gelu_pytorch_tanh") {
    config->hidden_activation = HiddenActivation::kGeluTanh;
  } else if (name == "relu") {
    config->hidden_activation = HiddenActivation::kRelu;
  } else {
    return in.Unsupported("'hidden_act' is '" + name +
                          "'; supported are gelu, gelu_new, gelu_pytorch_tanh and relu");
  }
  return {};
}

// id2label decides; without it num_labels does; without both transformers assumes two labels.
Status ReadLabels(const Reader& in, ModelConfig* config) {
  config->num_labels = 2;
  if (in.Find("num_labels") != nullptr)
    RERANKD_RETURN_IF_ERROR(in.ReadInt("num_labels", 1, kMaxLabels, &config->num_labels));
  const json* names = in.Find("id2label");
  if (names != nullptr) {
    if (!names->is_object() || names->empty() || names->size() > kMaxLabels)
      return in.Invalid("'id2label' must map 1 to " + std::to_string(kMaxLabels) + " numbers to names");
    config->num_labels = static_cast<int>(names->size());
  }
  for (int i = 0; i < config->num_labels; ++i) {
    const std::string key = std::to_string(i);
    const auto name = names != nullptr ? names->find(key) : json::const_iterator();
    if (names == nullptr) {
      config->labels.push_back("LABEL_" + key);
    } else if (name != names->end() && name->is_string()) {
      config->labels.push_back(name->get<std::string>());
    } else {
      return in.Invalid("'id2label' has " + std::to_string(config->num_labels) + " labels, but none for \"" +
                        key + "\"");
    }
  }
  return {};
}

Activation DefaultActivation(int num_labels) {
  return num_labels == 1 ? Activation::kSigmoid : Activation::kRaw;
}

// `path` is a dotted Python name such as "torch.nn.modules.activation.Sigmoid". Names outside torch are code
// that came with the model: sentence-transformers ignores them unless told to trust them, and so do we.
Status ReadActivationPath(const Reader& in, const json& path, ModelConfig* config) {
  if (!path.is_string()) return in.Invalid("the activation function must be a text");
  const auto text = path.get<std::string>();
  if (!text.starts_with("torch.")) return {};
  const std::string name = text.substr(text.rfind('.') + 1);
  if (name == "Identity") {
    config->activation = Activation::kRaw;
  } else if (name == "Sigmoid") {
    config->activation = Activation::kSigmoid;
  } else if (name == "Softmax") {
    config->activation = Activation::kSoftmax;
  } else {
    return in.Unsupported("the activation function is '" + text +
                          "'; supported are Identity, Sigmoid and Softmax of torch.nn");
  }
  return {};
}

Status ReadActivation(const Reader& in, ModelConfig* config) {
  config->activation = DefaultActivation(config->num_labels);
  if (const json* section = in.Find("sentence_transformers"); section != nullptr && section->is_object()) {
    const auto path = section->find("activation_fn");
    if (path != section->end() && !path->is_null()) return ReadActivationPath(in, *path, config);
  }
  const json* path = in.Find("sbert_ce_default_activation_function");
  return path != nullptr ? ReadActivationPath(in, *path, config) : Status();
}

Status ReadStorage(const Reader& in, ModelConfig* config) {
  const json* section = in.Find("quantization_config");
  if (section == nullptr) return {};
  const auto method = section->is_object() ? section->find("quant_method") : section->end();
  if (method != section->end() && *method == "rerankd-int8") {
    config->storage = WeightStorage::kInt8;
    return {};
  }
  return in.Unsupported("the weights are quantised with quant_method " +
                        (method != section->end() ? BriefJson(*method) : "(none)") +
                        "; supported are \"rerankd-int8\" and plain F32, F16 or BF16 weights");
}

// Newer versions of sentence-transformers keep the activation in a file of its own.
Status ReadSentenceTransformersFile(const std::string& path, ModelConfig* config) {
  std::error_code ec;
  if (!std::filesystem::exists(path, ec)) return {};
  RERANKD_ASSIGN_OR_RETURN(const json parsed, ReadStrictJson(path));
  const Reader in(parsed, path);
  const json* activation = in.Find("activation_fn");
  return activation != nullptr ? ReadActivationPath(in, *activation, config) : Status();
}

Result<ModelConfig> ReadModelConfig(const json& parsed, const std::string& source) {
  const Reader in(parsed, source);
  ModelConfig config;
  RERANKD_RETURN_IF_ERROR(CheckArchitecture(in));
  RERANKD_RETURN_IF_ERROR(ReadSizes(in, &config));
  RERANKD_RETURN_IF_ERROR(ReadEpsilon(in, &config));
  RERANKD_RETURN_IF_ERROR(ReadHiddenActivation(in, &config));
  RERANKD_RETURN_IF_ERROR(ReadLabels(in, &config));
  RERANKD_RETURN_IF_ERROR(ReadActivation(in, &config));
  RERANKD_RETURN_IF_ERROR(ReadStorage(in, &config));
  return config;
}

}  // namespace

Result<ModelConfig> ParseModelConfig(std::string_view text, const std::string& source) {
  RERANKD_ASSIGN_OR_RETURN(const json parsed, ParseStrictJson(text, source));
  return ReadModelConfig(parsed, source);
}

Result<ModelConfig> LoadModelConfig(const std::string& directory) {
  const std::filesystem::path folder(directory);
  const std::string path = (folder / "config.json").string();
  RERANKD_ASSIGN_OR_RETURN(const json parsed, ReadStrictJson(path));
  RERANKD_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(parsed, path));
  const std::string extra = (folder / "config_sentence_transformers.json").string();
  RERANKD_RETURN_IF_ERROR(ReadSentenceTransformersFile(extra, &config));
  return config;
}

Status CheckVocabulary(const ModelConfig& config, int tokenizer_size) {
  const bool fits = tokenizer_size <= config.vocab_size;
  if (fits && config.vocab_size - tokenizer_size <= kMaxUnusedRows) return {};
  return InvalidArgument("the tokenizer has " + std::to_string(tokenizer_size) +
                         " pieces, but the model has embeddings for " + std::to_string(config.vocab_size) +
                         (fits ? ": the vocabulary is cut or belongs to another model"
                               : ": the vocabulary belongs to another model"));
}

Status CheckPair(const ModelConfig& config, const EncodedPair& pair) {
  if (pair.ids.empty() || pair.ids.size() != pair.type_ids.size()) {
    return InvalidArgument("a pair of " + std::to_string(pair.ids.size()) + " token ids and " +
                           std::to_string(pair.type_ids.size()) +
                           " type ids; at least one token, and as many types, are needed");
  }
  if (pair.ids.size() > static_cast<size_t>(config.max_positions)) {
    return InvalidArgument("a pair of " + std::to_string(pair.ids.size()) +
                           " tokens; the model reads at most " + std::to_string(config.max_positions) +
                           ": truncate it");
  }
  for (const int32_t id : pair.ids) {
    if (id < 0 || id >= config.vocab_size)
      return InvalidArgument("token id " + std::to_string(id) + "; the model has " +
                             std::to_string(config.vocab_size) +
                             " embeddings: tokenizer and model do not match");
  }
  for (const uint8_t type : pair.type_ids) {
    if (type >= config.type_vocab_size)
      return InvalidArgument("token type " + std::to_string(type) + "; the model has " +
                             std::to_string(config.type_vocab_size));
  }
  return {};
}

Status CheckBatch(const ModelConfig& config, const Batch& batch, size_t room) {
  const size_t logits = batch.pairs().size() * static_cast<size_t>(config.num_labels);
  if (room != logits)
    return InvalidArgument("room for " + std::to_string(room) + " logits; the batch has " +
                           std::to_string(logits));
  for (const EncodedPair& pair : batch.pairs()) RERANKD_RETURN_IF_ERROR(CheckPair(config, pair));
  return {};
}

}  // namespace rerankd
