// Reads tokenizer.json, or vocab.txt with tokenizer_config.json, into a WordPieceSpec. The JSON library's
// exceptions end in this file.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/wordpiece_tokenizer.h"

namespace rerankd {
namespace {

using nlohmann::json;

constexpr int64_t kMaxVocab = int64_t{1} << 22;
constexpr int kMaxTypes = 2;
constexpr int64_t kMaxWordChars = int64_t{1} << 31;

struct VocabEntry {
  std::string token;
  int64_t id;
};

Status Unsupported(std::string_view what) {
  return FailedPrecondition(
      fmt::format("{} is not supported: only BERT WordPiece tokenizers (BertNormalizer, BertPreTokenizer, "
                  "TemplateProcessing) are",
                  what));
}

// A whole number from 0 to `limit` - 1. The library's own conversion of other numbers is undefined where they
// do not fit.
Result<int32_t> Index(const json& value, std::string_view where, int64_t limit) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() >= limit)
    return FailedPrecondition(fmt::format("{} is {}: a whole number from 0 to {} is expected", where,
                                          value.dump().substr(0, 80), limit - 1));
  return value.get<int32_t>();
}

// A key that this loader does not know might change the ids: refused rather than ignored.
Status CheckKeys(const json& object, std::string_view where, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Unsupported(fmt::format("{} = {}", where, object.dump().substr(0, 80)));
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return Unsupported(fmt::format("key '{}' of {}", key, where));
  return {};
}

Status CheckType(const json& object, std::string_view where, std::string_view expected) {
  if (!object.is_object()) return Unsupported(fmt::format("{} = {}", where, object.dump().substr(0, 80)));
  const std::string type = object.value("type", "");
  return type == expected ? Status() : Unsupported(fmt::format("{} of type '{}'", where, type));
}

// The document without model.vocab, whose entries go to *entries: a tree of 30,000 nodes would cost most of
// the loading time.
json ParseSplittingVocab(std::string_view text, std::vector<VocabEntry>* entries, bool* valid) {
  bool in_model = false, in_vocab = false;
  *valid = true;
  return json::parse(text, [&, valid](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key) {
      if (depth == 1) {
        in_model = parsed == "model";
        in_vocab = false;
      }
      if (depth == 2) in_vocab = in_model && parsed == "vocab";
      if (depth != 3 || !in_vocab) return true;
      entries->push_back({std::move(parsed.get_ref<std::string&>()), -1});
      return false;
    }
    if (depth == 3 && in_vocab && event == json::parse_event_t::value) {
      *valid &= parsed.is_number_integer() && !entries->empty();
      if (*valid) entries->back().id = parsed.get<int64_t>();
    }
    return true;
  });
}

Result<std::vector<std::string>> VocabById(std::vector<VocabEntry> entries) {
  std::vector<std::string> vocab(entries.size());
  for (VocabEntry& entry : entries) {
    if (entry.id < 0 || entry.id >= kMaxVocab)
      return FailedPrecondition(fmt::format("model.vocab: id {} of '{}' is not within 0 and {}", entry.id,
                                            entry.token, kMaxVocab - 1));
    const auto id = static_cast<size_t>(entry.id);
    if (id >= vocab.size()) vocab.resize(id + 1);
    if (!vocab[id].empty())
      return FailedPrecondition(
          fmt::format("model.vocab: '{}' and '{}' share id {}", vocab[id], entry.token, id));
    vocab[id] = std::move(entry.token);
  }
  return vocab;
}

Result<Normalization> ParseNormalizer(const json& normalizer) {
  RERANKD_RETURN_IF_ERROR(CheckType(normalizer, "normalizer", "BertNormalizer"));
  RERANKD_RETURN_IF_ERROR(
      CheckKeys(normalizer, "normalizer",
                {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}));
  Normalization result;
  result.clean_text = normalizer.at("clean_text").get<bool>();
  result.chinese_chars = normalizer.at("handle_chinese_chars").get<bool>();
  result.lowercase = normalizer.at("lowercase").get<bool>();
  const auto strip = normalizer.find("strip_accents");
  result.strip_accents =
      strip == normalizer.end() || strip->is_null() ? result.lowercase : strip->get<bool>();
  return result;
}

// The id is apart because tokenizer_config.json has it as the key.
Result<AddedToken> ParseAddedToken(const json& token, const json& id) {
  AddedToken result;
  result.content = token.at("content").get<std::string>();
  result.special = token.value("special", false);
  for (const char* flag : {"single_word", "lstrip", "rstrip"})
    if (token.value(flag, false))
      return Unsupported(fmt::format("added token '{}' with {}", result.content, flag));
  if (token.value("normalized", !result.special))
    return Unsupported(fmt::format("added token '{}' with normalized", result.content));
  RERANKD_ASSIGN_OR_RETURN(result.id,
                           Index(id, fmt::format("the id of added token '{}'", result.content), kMaxVocab));
  return result;
}

// An added token that the vocabulary knows must have its id there; a new one must not take an id in use.
Status CheckAddedIds(const WordPieceSpec& spec) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < spec.vocab.size(); ++i) ids[spec.vocab[i]] = static_cast<int32_t>(i);
  for (const AddedToken& token : spec.added) {
    const auto known = ids.find(token.content);
    const auto id = static_cast<size_t>(token.id);
    const bool clash =
        known != ids.end() ? known->second != token.id : id < spec.vocab.size() && !spec.vocab[id].empty();
    if (clash)
      return FailedPrecondition(
          fmt::format("added token '{}' has id {}, but in the vocabulary {}", token.content, token.id,
                      known != ids.end() ? fmt::format("it has id {}", known->second)
                                         : fmt::format("that is '{}'", spec.vocab[id])));
  }
  return {};
}

Result<int32_t> TypeOf(const json& piece) {
  return Index(piece.at("type_id"), "type_id in post_processor", kMaxTypes);
}

Status ParseSpecialToken(const json& piece, const json& special_tokens,
                         std::vector<EncodingTemplate::Special>* out) {
  const auto name = piece.at("id").get<std::string>();
  RERANKD_ASSIGN_OR_RETURN(const int32_t type, TypeOf(piece));
  for (const json& id : special_tokens.at(name).at("ids")) {
    RERANKD_ASSIGN_OR_RETURN(const int32_t special,
                             Index(id, fmt::format("an id of special token '{}'", name), kMaxVocab));
    out->push_back({special, static_cast<uint8_t>(type)});
  }
  return {};
}

// A template with each of `sequences` ("A" or "AB") once and in this order.
Result<EncodingTemplate> ParseTemplate(const json& pieces, const json& special_tokens,
                                       std::string_view sequences) {
  EncodingTemplate result;
  std::vector<EncodingTemplate::Special>* const groups[] = {&result.before, &result.between, &result.after};
  size_t seen = 0;
  for (const json& piece : pieces) {
    if (piece.contains("SpecialToken")) {
      auto* group = seen == sequences.size() ? &result.after : groups[seen];
      RERANKD_RETURN_IF_ERROR(ParseSpecialToken(piece.at("SpecialToken"), special_tokens, group));
      continue;
    }
    const json& sequence = piece.at("Sequence");
    RERANKD_ASSIGN_OR_RETURN(const int32_t type, TypeOf(sequence));
    if (seen == sequences.size() || sequence.at("id").get<std::string>() != sequences.substr(seen, 1))
      return Unsupported("post_processor template " + pieces.dump());
    (seen++ == 0 ? result.query_type : result.document_type) = static_cast<uint8_t>(type);
  }
  if (seen != sequences.size()) return Unsupported("post_processor template " + pieces.dump());
  return result;
}

Status ParsePostProcessor(const json& processor, WordPieceSpec* spec) {
  RERANKD_RETURN_IF_ERROR(CheckType(processor, "post_processor", "TemplateProcessing"));
  const json& special_tokens = processor.at("special_tokens");
  RERANKD_ASSIGN_OR_RETURN(spec->single, ParseTemplate(processor.at("single"), special_tokens, "A"));
  RERANKD_ASSIGN_OR_RETURN(spec->pair, ParseTemplate(processor.at("pair"), special_tokens, "AB"));
  return {};
}

Status ParseModel(const json& model, WordPieceSpec* spec) {
  if (const std::string type = model.value("type", "WordPiece"); type != "WordPiece")
    return Unsupported(fmt::format("model of type '{}'", type));
  RERANKD_RETURN_IF_ERROR(
      CheckKeys(model, "model",
                {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"}));
  if (const std::string prefix = model.value("continuing_subword_prefix", "##"); prefix != "##")
    return Unsupported(fmt::format("continuing_subword_prefix '{}'", prefix));
  spec->unknown_token = model.at("unk_token").get<std::string>();
  RERANKD_ASSIGN_OR_RETURN(spec->max_word_chars, Index(model.at("max_input_chars_per_word"),
                                                       "max_input_chars_per_word", kMaxWordChars));
  return {};
}

Status ParseParts(const json& root, WordPieceSpec* spec) {
  RERANKD_RETURN_IF_ERROR(CheckKeys(root, "the file",
                                    {"version", "truncation", "padding", "added_tokens", "normalizer",
                                     "pre_tokenizer", "post_processor", "decoder", "model"}));
  RERANKD_RETURN_IF_ERROR(ParseModel(root.at("model"), spec));
  RERANKD_ASSIGN_OR_RETURN(spec->normalization, ParseNormalizer(root.at("normalizer")));
  RERANKD_RETURN_IF_ERROR(CheckType(root.at("pre_tokenizer"), "pre_tokenizer", "BertPreTokenizer"));
  RERANKD_RETURN_IF_ERROR(ParsePostProcessor(root.at("post_processor"), spec));
  for (const json& token : root.value("added_tokens", json::array())) {
    RERANKD_ASSIGN_OR_RETURN(AddedToken added, ParseAddedToken(token, token.at("id")));
    spec->added.push_back(std::move(added));
  }
  return CheckAddedIds(*spec);
}

// Special ids of the templates must be displayable, so they must be ids of the vocabulary.
Status CheckTemplateIds(const WordPieceSpec& spec) {
  auto limit = static_cast<int32_t>(spec.vocab.size());
  for (const AddedToken& token : spec.added) limit = std::max(limit, token.id + 1);
  for (const EncodingTemplate* form : {&spec.single, &spec.pair})
    for (const auto* group : {&form->before, &form->between, &form->after})
      for (const auto& special : *group)
        if (special.id < 0 || special.id >= limit)
          return FailedPrecondition(
              fmt::format("post_processor: id {} is outside the vocabulary of {}", special.id, limit));
  return {};
}

Result<WordPieceSpec> ParseSpec(std::string_view text) {
  std::vector<VocabEntry> entries;
  bool valid = true;
  const json root = ParseSplittingVocab(text, &entries, &valid);
  if (!valid) return FailedPrecondition("model.vocab: every token needs an integer id");
  WordPieceSpec spec;
  RERANKD_ASSIGN_OR_RETURN(spec.vocab, VocabById(std::move(entries)));
  RERANKD_RETURN_IF_ERROR(ParseParts(root, &spec));
  RERANKD_RETURN_IF_ERROR(CheckTemplateIds(spec));
  return spec;
}

std::vector<std::string> ParseVocabText(std::string_view text) {
  std::vector<std::string> vocab;
  for (std::string_view line : Split(text, '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    vocab.emplace_back(line);
  }
  if (vocab.back().empty()) vocab.pop_back();  // after the last end of line
  return vocab;
}

// A special token stands as "[SEP]" or as {"content": "[SEP]", ...}.
void ReadTokenName(const json& root, const char* key, std::string* name) {
  const auto found = root.find(key);
  if (found == root.end() || found->is_null()) return;
  *name = found->is_object() ? found->at("content").get<std::string>() : found->get<std::string>();
}

Status ReadTokenizerConfig(const json& root, TokenizerConfig* config) {
  if (!root.is_object()) return FailedPrecondition("the file is not a JSON object");
  const std::string type = root.value("tokenizer_class", "BertTokenizer");
  for (const char* other : {"Roberta", "XLM", "T5", "GPT", "Llama", "Qwen", "Deberta", "Albert"})
    if (type.starts_with(other)) return Unsupported(fmt::format("tokenizer_class '{}'", type));
  if (!root.value("do_basic_tokenize", true)) return Unsupported("do_basic_tokenize = false");
  if (root.contains("never_split") && !root["never_split"].is_null() && !root["never_split"].empty())
    return Unsupported("never_split");
  config->lowercase = root.value("do_lower_case", true);
  if (const auto strip = root.find("strip_accents"); strip != root.end() && !strip->is_null())
    config->strip_accents = strip->get<bool>();
  config->chinese_chars = root.value("tokenize_chinese_chars", true);
  ReadTokenName(root, "unk_token", &config->unknown_token);
  ReadTokenName(root, "cls_token", &config->cls_token);
  ReadTokenName(root, "sep_token", &config->sep_token);
  ReadTokenName(root, "pad_token", &config->pad_token);
  ReadTokenName(root, "mask_token", &config->mask_token);
  return {};
}

Result<WordPieceSpec> SpecOf(std::vector<std::string> vocab, const TokenizerConfig& config) {
  WordPieceSpec spec;
  spec.unknown_token = config.unknown_token;
  spec.max_word_chars = config.max_input_chars_per_word;
  spec.normalization = {config.clean_text, config.chinese_chars,
                        config.strip_accents.value_or(config.lowercase), config.lowercase};
  const auto add = [&](const std::string& token) {
    const auto found = std::find(vocab.rbegin(), vocab.rend(), token);  // of equal tokens the last wins
    if (found == vocab.rend()) return -1;
    const auto id = static_cast<int32_t>(vocab.rend() - found - 1);
    spec.added.push_back({token, id, true});
    return id;
  };
  const int32_t cls = add(config.cls_token), sep = add(config.sep_token);
  if (cls < 0 || sep < 0)
    return FailedPrecondition(fmt::format("the vocabulary has no '{}': add it or set cls_token and sep_token",
                                          cls < 0 ? config.cls_token : config.sep_token));
  for (const std::string& token : {config.unknown_token, config.pad_token, config.mask_token}) add(token);
  spec.single = {{{cls, 0}}, {{sep, 0}}, {}};
  spec.pair = {{{cls, 0}}, {{sep, 0}}, {{sep, 1}}};
  spec.vocab = std::move(vocab);
  return spec;
}

// Adds what "added_tokens_decoder" {"id": token} has beyond the five usual special tokens.
Status AddDecoderTokens(const json& root, WordPieceSpec* spec) {
  const json decoder = root.value("added_tokens_decoder", json::object());
  for (const auto& [key, token] : decoder.items()) {
    RERANKD_ASSIGN_OR_RETURN(AddedToken added, ParseAddedToken(token, json::parse(key)));
    const bool known = std::any_of(spec->added.begin(), spec->added.end(),
                                   [&](const AddedToken& other) { return other.content == added.content; });
    if (!known) spec->added.push_back(std::move(added));
  }
  return CheckAddedIds(*spec);
}

Result<WordPieceSpec> SpecOfVocabFile(std::string_view vocab, const std::string* config_text) {
  const json root = config_text == nullptr ? json::object() : json::parse(*config_text);
  TokenizerConfig config;
  RERANKD_RETURN_IF_ERROR(ReadTokenizerConfig(root, &config));
  RERANKD_ASSIGN_OR_RETURN(WordPieceSpec spec, SpecOf(ParseVocabText(vocab), config));
  RERANKD_RETURN_IF_ERROR(AddDecoderTokens(root, &spec));
  return spec;
}

// Runs `parse` and turns the JSON library's exceptions into a Status.
template <typename Parse>
Result<std::unique_ptr<Tokenizer>> Build(Parse parse) {
  try {
    Result<WordPieceSpec> spec = parse();
    if (!spec.ok()) return spec.status();
    return WordPieceTokenizer::Make(std::move(spec).value());
  } catch (const json::exception& error) {
    return FailedPrecondition(error.what());
  }
}

Result<std::unique_ptr<Tokenizer>> WithContext(Result<std::unique_ptr<Tokenizer>> result,
                                               const std::string& path) {
  if (!result.ok()) return result.status().WithContext(path);
  return result;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> ParseTokenizerJson(std::string_view text) {
  return Build([&] { return ParseSpec(text); });
}

Result<std::unique_ptr<Tokenizer>> MakeTokenizerFromVocab(std::vector<std::string> vocab,
                                                          const TokenizerConfig& config) {
  return Build([&] { return SpecOf(std::move(vocab), config); });
}

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory) {
  const std::string json_path = directory + "/tokenizer.json", vocab_path = directory + "/vocab.txt";
  const Result<std::string> text = ReadFile(json_path);
  if (text.ok()) return WithContext(ParseTokenizerJson(*text), json_path);
  if (text.status().code() != Code::kNotFound) return text.status();

  const Result<std::string> vocab = ReadFile(vocab_path);
  if (vocab.status().code() == Code::kNotFound)
    return NotFound("no tokenizer in '" + directory + "': neither tokenizer.json nor vocab.txt is there");
  if (!vocab.ok()) return vocab.status();
  const Result<std::string> config = ReadFile(directory + "/tokenizer_config.json");
  if (!config.ok() && config.status().code() != Code::kNotFound) return config.status();
  return WithContext(Build([&] { return SpecOfVocabFile(*vocab, config.ok() ? &*config : nullptr); }),
                     vocab_path);
}

}  // namespace rerankd
