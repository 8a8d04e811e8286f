// Parity with Hugging Face `tokenizers`: the committed goldens and, where it is present, the test data
// folder.
#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/text.h"

namespace rerankd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kTestData = std::string(RERANKD_SOURCE_DIR) + "/src/tokenizer/testdata";

std::string SharedData(const std::string& name) {
  const char* root = std::getenv("RERANKD_TEST_DATA");
  return (root != nullptr ? std::string(root) : std::string(RERANKD_SOURCE_DIR) + "/../shared/data") + "/" +
         name;
}

json ReadJson(const std::string& path) { return json::parse(ReadFile(path).value()); }

std::vector<std::string> SmallVocab() {
  std::vector<std::string> vocab;
  auto reader = LineReader::Open(kTestData + "/vocab.txt");
  for (std::string line; reader->Next(&line);) vocab.push_back(line);
  return vocab;
}

std::unique_ptr<Tokenizer> Small(const TokenizerConfig& config = {}) {
  return MakeTokenizerFromVocab(SmallVocab(), config).value();
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text, bool escape = false) {
  std::vector<int32_t> ids;
  tokenizer.EncodeText(text, escape, &ids);
  return ids;
}

std::vector<std::string> Tokens(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> tokens;
  const std::vector<DisplayToken> shown = tokenizer.Explain(text, {}, {}).value();
  for (const DisplayToken& token : shown) tokens.push_back(token.token);
  return tokens;
}

// A text, or [part, count] for one too long to write down.
std::string TextOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::string text;
  for (int i = 0; i < value[1].get<int>(); ++i) text += value[0].get<std::string>();
  return text;
}

std::vector<int32_t> IdsOf(const std::vector<DisplayToken>& tokens) {
  std::vector<int32_t> ids;
  for (const DisplayToken& token : tokens) ids.push_back(token.id);
  return ids;
}

// The hot path gives the ids, types and untruncated length that the golden has.
void ExpectPair(const Tokenizer& tokenizer, const std::string& text, const std::string& pair,
                const PairOptions& options, const json& golden) {
  EncodedPairs out;
  const Status status =
      tokenizer.AppendPair(Ids(tokenizer, text, options.escape_special), pair, options, &out);
  ASSERT_TRUE(status.ok()) << status.ToString();
  json found = json::array(), expected = json::array();
  for (size_t i = 0; i < out[0].ids.size(); ++i) found.push_back({out[0].ids[i], out[0].type_ids[i]});
  for (const json& token : golden["tokens"]) expected.push_back({token[0], token[1]});
  EXPECT_EQ(found, expected);
  EXPECT_EQ(out.full_length(0), golden["full_length"].get<int>());
}

void ExpectGolden(const Tokenizer& tokenizer, const json& golden) {
  SCOPED_TRACE(golden.dump().substr(0, 300));
  PairOptions options;
  options.max_length = golden["max_length"].get<int>();
  options.truncate_left = golden["left"].get<bool>();
  options.escape_special = golden["escape"].get<bool>();
  const bool has_pair = golden.contains("pair");
  const std::string text = TextOf(golden["text"]), pair = has_pair ? TextOf(golden["pair"]) : "";
  const auto shown = tokenizer.Explain(text, has_pair ? std::string_view(pair) : std::string_view(), options);
  ASSERT_TRUE(shown.ok()) << shown.status().ToString();
  json found = json::array();
  for (const DisplayToken& token : *shown) found.push_back({token.id, token.type_id, token.begin, token.end});
  EXPECT_EQ(found, golden["tokens"]);
  if (has_pair) {
    ExpectPair(tokenizer, text, pair, options, golden);
  } else if (golden["full_length"].get<size_t>() == shown->size()) {
    std::vector<int32_t> ids = IdsOf(*shown);
    EXPECT_EQ(Ids(tokenizer, text, options.escape_special),
              std::vector<int32_t>(ids.begin() + 1, ids.end() - 1));
  }
}

TokenizerConfig ConfigOf(const json& normalizer) {
  TokenizerConfig config;
  config.clean_text = normalizer["clean_text"].get<bool>();
  config.chinese_chars = normalizer["chinese_chars"].get<bool>();
  config.lowercase = normalizer["lowercase"].get<bool>();
  if (!normalizer["strip_accents"].is_null()) config.strip_accents = normalizer["strip_accents"].get<bool>();
  return config;
}

TEST(HuggingFaceParity, CommittedGoldens) {
  int cases = 0;
  const json goldens = ReadJson(kTestData + "/goldens.json");
  for (const json& set : goldens["sets"]) {
    const auto tokenizer = Small(ConfigOf(set["normalizer"]));
    for (const json& golden : set["cases"]) {
      ExpectGolden(*tokenizer, golden);
      ++cases;
    }
  }
  EXPECT_GT(cases, 700);
}

TEST(HuggingFaceParity, TokenizerJsonAndVocabTextGiveTheSame) {
  const auto tokenizer = LoadTokenizer(kTestData).value();
  const json goldens = ReadJson(kTestData + "/goldens.json");
  for (const json& golden : goldens["sets"][0]["cases"]) ExpectGolden(*tokenizer, golden);
}

TEST(Truncation, NoRoomAtAllIsAnErrorOnBothSides) {
  const auto tokenizer = LoadTokenizer(kTestData).value();
  const auto query = Ids(*tokenizer, "unaffable runners");
  for (const int max_length : {-1, 0, 2}) {
    for (const bool left : {false, true}) {
      PairOptions options;
      options.max_length = max_length;
      options.truncate_left = left;
      EncodedPairs out;
      EXPECT_EQ(tokenizer->AppendPair(query, "the river", options, &out).code(), Code::kInvalidArgument);
      EXPECT_EQ(out.size(), 0);
    }
  }
}

TEST(HuggingFaceParity, EdgeVectors) {
  const std::string path = SharedData("tokenizer-vectors/hf_rust_edge.json");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no test data at " << path;
  const auto tokenizer = LoadTokenizer(SharedData("ms-marco-MiniLM-L-6-v2")).value();
  const json vectors = ReadJson(path);
  EXPECT_EQ(vectors["single"].size(), 35u);
  for (const json& golden : vectors["single"]) {
    SCOPED_TRACE(golden["text"].dump().substr(0, 300));
    PairOptions options;
    options.max_length = 1'000'000;
    const auto shown = tokenizer->Explain(golden["text"].get<std::string>(), {}, options).value();
    json ids = json::array(), tokens = json::array(), offsets = json::array();
    for (const DisplayToken& token : shown) {
      ids.push_back(token.id);
      tokens.push_back(token.token);
      offsets.push_back({token.begin, token.end});
    }
    EXPECT_EQ(ids, golden["ids"]);
    EXPECT_EQ(tokens, golden["tokens"]);
    EXPECT_EQ(offsets, golden["offsets"]);
  }
  int checked = 0;
  for (const json& golden : vectors["pairs_longest_first_trunc32"]) {
    PairOptions options;
    options.max_length = golden["max_len"].get<int>();
    const auto query = Ids(*tokenizer, golden["a"].get<std::string>());
    EncodedPairs out;
    ASSERT_TRUE(tokenizer->AppendPair(query, golden["b"].get<std::string>(), options, &out).ok());
    EXPECT_EQ(json(std::vector<int>(out[0].ids.begin(), out[0].ids.end())), golden["ids"]);
    EXPECT_EQ(json(std::vector<int>(out[0].type_ids.begin(), out[0].type_ids.end())), golden["type_ids"]);
    ++checked;
  }
  EXPECT_EQ(checked, 8);
}

std::map<std::string, std::string> ReadTexts(const std::string& path) {
  std::map<std::string, std::string> texts;
  auto reader = LineReader::Open(path);
  for (std::string line; reader->Next(&line);) {
    const json entry = json::parse(line);
    const std::string title = entry.value("title", "");
    texts[entry["_id"]] = (title.empty() ? "" : title + " ") + entry["text"].get<std::string>();
  }
  return texts;
}

std::vector<int32_t> ParseIds(const std::string& list) {
  std::vector<int32_t> ids;
  std::istringstream in(list);
  for (int32_t id; in >> id;) ids.push_back(id);
  return ids;
}

TEST(HuggingFaceParity, AllPairsOfDl19) {
  const std::string folder = SharedData("msmarco-dl19");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no test data at " << folder;
  const auto tokenizer = LoadTokenizer(SharedData("ms-marco-MiniLM-L-6-v2")).value();
  auto queries = ReadTexts(folder + "/queries.jsonl"), corpus = ReadTexts(folder + "/corpus.jsonl");
  auto reader = LineReader::Open(folder + "/golden_token_ids.tsv.gz");
  int pairs = 0, different = 0;
  for (std::string line; reader->Next(&line); ++pairs) {
    const auto fields = Split(line, '\t');
    EncodedPairs out;
    const auto query = Ids(*tokenizer, queries.at(std::string(fields[0])));
    ASSERT_TRUE(tokenizer->AppendPair(query, corpus.at(std::string(fields[1])), {}, &out).ok());
    different +=
        ParseIds(std::string(fields[2])) != std::vector<int32_t>(out[0].ids.begin(), out[0].ids.end());
  }
  EXPECT_EQ(pairs, 14602);
  EXPECT_EQ(different, 0);
}

TEST(Encode, SpecialTokensInTextAreThemselvesUnlessEscaped) {
  const auto tokenizer = Small();
  EXPECT_THAT(Ids(*tokenizer, "[SEP]"), ElementsAre(3));
  EXPECT_THAT(Tokens(*tokenizer, "a[SEP]b"), ElementsAre("[CLS]", "a", "[SEP]", "b", "[SEP]"));
  const std::vector<int32_t> escaped = Ids(*tokenizer, "[SEP]", true);
  ASSERT_EQ(escaped.size(), 3u);
  EXPECT_EQ(escaped[1], Ids(*tokenizer, "sep")[0]);
}

TEST(Encode, IllFormedUtf8CountsAsReplacementCharacters) {
  // clean_text removes U+FFFD; without it each maximal subpart stays as one character.
  const auto tokenizer = Small();
  EXPECT_EQ(Ids(*tokenizer,
                "th\xFF"
                "e\xC3"),
            Ids(*tokenizer, "the"));
  EXPECT_EQ(Ids(*tokenizer, "\xE0\x80\xED\xA0\x80\xF5\xF0\x9F\x98"), std::vector<int32_t>());
  const auto shown = tokenizer->Explain("\xF0\x9F\x98 the", {}, {}).value();
  EXPECT_EQ(shown[1].begin, 2);  // one replacement character, one space

  TokenizerConfig keep;
  keep.clean_text = false;
  const auto raw = Small(keep)->Explain("\xE2\x82\xE2", {}, {}).value();
  ASSERT_EQ(raw.size(), 3u);
  EXPECT_EQ(raw[1].end, 2);
}

TEST(Encode, AppendsWithoutTouchingWhatIsThere) {
  const auto tokenizer = Small();
  std::vector<int32_t> ids = {7};
  tokenizer->EncodeText("the", false, &ids);
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], 7);
  EncodedPairs out;
  ASSERT_TRUE(tokenizer->AppendPair({}, "", {}, &out).ok());
  ASSERT_TRUE(tokenizer->AppendPair(ids, "sea", {}, &out).ok());
  EXPECT_THAT(out[0].ids, ElementsAre(2, 3, 3));
  EXPECT_THAT(out[0].type_ids, ElementsAre(0, 0, 1));
  EXPECT_EQ(out[1].ids.size(), 6u);
}

TEST(Encode, ARefusedPairLeavesTheOutputAsItWas) {
  const auto tokenizer = Small();
  PairOptions options;
  options.max_length = 4;
  options.truncation = Truncation::kError;
  EncodedPairs out;
  const Status status = tokenizer->AppendPair(Ids(*tokenizer, "the sea"), "water", options, &out);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("6 tokens"));
  EXPECT_EQ(out.size(), 0);
  EXPECT_EQ(out.tokens(), 0);
}

TEST(Encode, OverheadAndVocabularySize) {
  const auto tokenizer = Small();
  EXPECT_EQ(tokenizer->pair_overhead(), 3);
  EXPECT_EQ(tokenizer->vocab_size(), static_cast<int>(SmallVocab().size()));
}

TEST(MakeTokenizerFromVocab, NamesTheMissingSpecialToken) {
  const auto result = MakeTokenizerFromVocab({"[UNK]", "[CLS]", "a"}, {});
  EXPECT_EQ(result.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(result.status().message(), HasSubstr("[SEP]"));
  EXPECT_THAT(MakeTokenizerFromVocab({"[SEP]", "[CLS]"}, {}).status().message(), HasSubstr("[UNK]"));
}

class LoaderTest : public testing::Test {
 protected:
  LoaderTest() : root_(ReadJson(kTestData + "/tokenizer.json")) {
    folder_ =
        testing::TempDir() + "/tokenizer_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  ~LoaderTest() override { std::filesystem::remove_all(folder_); }

  std::string MessageOf(const json& root) {
    const auto result = ParseTokenizerJson(root.dump());
    EXPECT_EQ(result.status().code(), Code::kFailedPrecondition) << root.dump().substr(0, 200);
    return result.status().message();
  }
  void Write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/" + name, text).ok());
  }

  json root_;
  std::string folder_;
};

TEST_F(LoaderTest, NamesWhatIsNotSupported) {
  const std::vector<std::pair<json, std::string>> changes = {
      {{{"normalizer", {{"type", "NFC"}}}}, "normalizer of type 'NFC'"},
      {{{"normalizer", "NFC"}}, "normalizer = \"NFC\""},
      {{{"pre_tokenizer", {{"type", "ByteLevel"}}}}, "pre_tokenizer of type 'ByteLevel'"},
      {{{"post_processor", {{"type", "BertProcessing"}}}}, "post_processor of type 'BertProcessing'"},
      {{{"model", {{"type", "BPE"}}}}, "model of type 'BPE'"},
      {{{"model", {{"continuing_subword_prefix", "@@"}}}}, "continuing_subword_prefix '@@'"},
      {{{"model", {{"max_input_chars_per_word", 0}}}}, "max_input_chars_per_word 0"},
      {{{"model", {{"max_input_chars_per_word", 4.1e43}}}}, "max_input_chars_per_word is 4.1e+43"},
      {{{"model", {{"unk_token", "<unk>"}}}}, "unknown token '<unk>'"},
      {{{"model", {{"vocab", {{"the", -1}}}}}}, "id -1 of 'the'"},
      {{{"model", {{"vocab", {{"the", 5}, {"a", 5}}}}}}, "share id 5"},
      {{{"model", {{"vocab", {{"the", "x"}}}}}}, "integer id"},
      {{{"model", {{"dropout", 0.1}}}}, "key 'dropout' of model"},
      {{{"surprise", 1}}, "key 'surprise' of the file"},
      {{{"added_tokens", {{{"id", 3}, {"content", "the"}, {"special", true}}}}},
       "added token 'the' has id 3"},
      {{{"added_tokens", {{{"id", 3}, {"content", "[SEP]"}, {"lstrip", true}}}}}, "'[SEP]' with lstrip"},
      {{{"added_tokens", {{{"id", 999}, {"content", "new"}}}}}, "'new' with normalized"},
  };
  for (const auto& [change, message] : changes) {
    json root = root_;
    root.merge_patch(change);
    EXPECT_THAT(MessageOf(root), HasSubstr(message));
  }
}

TEST_F(LoaderTest, TemplatesMustHoldBothTextsInOrder) {
  json root = root_;
  std::swap(root["post_processor"]["pair"][1], root["post_processor"]["pair"][3]);
  EXPECT_THAT(MessageOf(root), HasSubstr("template"));
  root = root_;
  root["post_processor"]["special_tokens"]["[CLS]"]["ids"] = {99999};
  EXPECT_THAT(MessageOf(root), HasSubstr("99999"));
  root["post_processor"]["special_tokens"]["[CLS]"]["ids"] = {1e300};
  EXPECT_THAT(MessageOf(root), HasSubstr("an id of special token '[CLS]' is 1e+300"));
  root = root_;
  root["post_processor"]["pair"][0]["SpecialToken"]["type_id"] = -1;
  EXPECT_THAT(MessageOf(root), HasSubstr("type_id in post_processor is -1"));
}

TEST_F(LoaderTest, BrokenJsonIsAnErrorNotACrash) {
  const std::string text = root_.dump();
  for (size_t length = 0; length < text.size(); length += 97)
    EXPECT_EQ(ParseTokenizerJson(text.substr(0, length)).status().code(), Code::kFailedPrecondition);
  for (const char* other : {"[]", "5", "null", "{\"model\":[[[1]]]}", "{\"model\":{\"vocab\":[1,2]}}", "{}"})
    EXPECT_EQ(ParseTokenizerJson(other).status().code(), Code::kFailedPrecondition) << other;
}

TEST_F(LoaderTest, AddedTokensOutsideTheVocabularyAreFoundButAreNotPieces) {
  const int id = static_cast<int>(SmallVocab().size()) + 2;
  root_["added_tokens"].push_back({{"id", id}, {"content", "zq"}, {"special", true}, {"normalized", false}});
  const auto tokenizer = ParseTokenizerJson(root_.dump()).value();
  EXPECT_EQ(tokenizer->vocab_size(), id + 1);
  EXPECT_THAT(Ids(*tokenizer, "zq"), ElementsAre(id));
  EXPECT_THAT(Ids(*tokenizer, "ZQ"), testing::Not(testing::Contains(id)));
}

TEST_F(LoaderTest, VocabTextFollowsTokenizerConfig) {
  Write("vocab.txt", "[UNK]\r\n<s>\r\n</s>\r\nHello\r\nhello\r\n##o\r\n<x>\r\n");
  Write("tokenizer_config.json",
        R"({"do_lower_case": false, "cls_token": "<s>", "sep_token": {"content": "</s>"}, "pad_token": null,
            "added_tokens_decoder": {"6": {"content": "<x>", "special": true, "normalized": false}}})");
  const auto tokenizer = LoadTokenizer(folder_).value();
  EXPECT_THAT(IdsOf(tokenizer->Explain("Hello hello <x>", "Helloo", {}).value()),
              ElementsAre(1, 3, 4, 6, 2, 3, 5, 2));
}

TEST_F(LoaderTest, VocabTextRefusesWhatItCannotDo) {
  Write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n");
  for (const char* config :
       {R"({"do_basic_tokenize": false})", R"({"never_split": ["x"]})",
        R"({"tokenizer_class": "RobertaTokenizer"})", R"({"do_lower_case": 1})", "[]", "{"}) {
    Write("tokenizer_config.json", config);
    EXPECT_EQ(LoadTokenizer(folder_).status().code(), Code::kFailedPrecondition) << config;
  }
}

TEST_F(LoaderTest, ErrorsNameTheFile) {
  EXPECT_EQ(LoadTokenizer(folder_).status().code(), Code::kNotFound);
  EXPECT_THAT(LoadTokenizer(folder_).status().message(), HasSubstr(folder_));
  Write("tokenizer.json", "{");
  EXPECT_THAT(LoadTokenizer(folder_).status().message(), HasSubstr(folder_ + "/tokenizer.json"));
}

}  // namespace
}  // namespace rerankd
