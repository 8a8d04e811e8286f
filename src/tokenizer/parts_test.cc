// The parts of the tokenizer on their own: trie, added tokens, UTF-8, truncation; and that the hot path does
// not allocate.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <random>

#include "base/text.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/piece_trie.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/truncation.h"
#include "tokenizer/unicode.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// noinline: GCC would warn about the pairing of what it inlined.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace rerankd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// WordPiece by its definition: the longest piece at every step.
bool GreedySplit(const std::vector<std::string>& first, const std::vector<std::string>& rest,
                 std::string_view word, std::vector<int32_t>* ids) {
  for (size_t begin = 0; begin < word.size();) {
    size_t longest = 0;
    int32_t id = -1;
    const auto& pieces = begin == 0 ? first : rest;
    for (size_t i = 0; i < pieces.size(); ++i)
      if (pieces[i].size() > longest && word.substr(begin).starts_with(pieces[i])) {
        longest = pieces[i].size();
        id = static_cast<int32_t>(i + (begin == 0 ? 0 : first.size()));
      }
    if (longest == 0) return false;
    ids->push_back(id);
    begin += longest;
  }
  return true;
}

std::string RandomWord(std::mt19937* random, int longest) {
  std::string word;
  const int length = 1 + static_cast<int>((*random)() % static_cast<unsigned>(longest));
  for (int i = 0; i < length; ++i) word += static_cast<char>('a' + (*random)() % 3);
  return word;
}

TEST(PieceTrie, SplitsAsTheGreedyDefinitionDoes) {
  std::mt19937 random(7);
  int possible = 0;
  for (int vocabulary = 0; vocabulary < 300; ++vocabulary) {
    std::vector<std::string> first, rest;
    for (int i = 0; i < 12; ++i) {
      first.push_back(RandomWord(&random, 5));
      rest.push_back(RandomWord(&random, 5));
    }
    PieceTrie trie;
    // Of equal pieces the last wins; the reference takes the first: insert in reverse.
    for (size_t i = first.size(); i-- > 0;) {
      trie.Insert(first[i], false, static_cast<int32_t>(i));
      trie.Insert(rest[i], true, static_cast<int32_t>(i + first.size()));
    }
    trie.Link();
    for (int i = 0; i < 200; ++i) {
      const std::string word = RandomWord(&random, 20);
      std::vector<int32_t> expected, found;
      const bool splits = GreedySplit(first, rest, word, &expected);
      ASSERT_EQ(trie.Split(word, &found), splits) << word;
      possible += splits;
      if (splits)
        ASSERT_EQ(found, expected) << word;
      else
        ASSERT_THAT(found, IsEmpty());
    }
  }
  EXPECT_GT(possible, 1000);
}

TEST(AddedTokens, FindsTheLeftmostThenTheLongest) {
  AddedTokens tokens;
  tokens.Add({"[S]", 1, true});
  tokens.Add({"[S]x", 2, true});
  tokens.Add({"<m>", 3, false});
  const std::string_view text = "a[[S]xy<m>[S]";
  const auto first = tokens.Find(text, 0);
  EXPECT_EQ(first.begin, 2u);
  EXPECT_EQ(first.token->id, 2);
  EXPECT_EQ(tokens.Find(text, 3).token->id, 3);
  EXPECT_EQ(tokens.Find(text, 8).token->id, 1);
  EXPECT_EQ(tokens.Find(text, 11).token, nullptr);
  EXPECT_EQ(AddedTokens().Find(text, 0).begin, text.size());
}

std::vector<uint32_t> DecodeAll(std::string_view text) {
  std::vector<uint32_t> out;
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  for (const uint8_t* end = p + text.size(); p < end;) {
    const auto decoded = unicode::DecodeUtf8(p, end);
    out.push_back(decoded.code_point);
    p += decoded.length;
  }
  return out;
}

TEST(Unicode, DecodesEveryCodePointAndEncodesItBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char bytes[4];
    const size_t length = unicode::EncodeUtf8(c, bytes);
    const auto* p = reinterpret_cast<const uint8_t*>(bytes);
    const auto decoded = unicode::DecodeUtf8(p, p + length);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.length, length);
  }
}

TEST(Unicode, ReplacesMaximalSubparts) {
  // The example of the Unicode standard, table 3-8 and its neighbours.
  EXPECT_THAT(DecodeAll("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
              ElementsAre(0x61, 0xFFFD, 0xFFFD, 0xFFFD, 0x62, 0xFFFD, 0x63, 0xFFFD, 0xFFFD, 0x64));
  EXPECT_THAT(DecodeAll("\xC0\xAF\xED\xA0\x80"), ElementsAre(0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD));
  EXPECT_THAT(DecodeAll("\xF4\x90\x80\x80"), ElementsAre(0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD));
}

TEST(Unicode, AgreesWithTheStrictCheckOnWhatIsWellFormed) {
  std::mt19937 random(3);
  const std::string_view bytes = "\x41\x80\xBF\xC2\xE0\xA0\xED\x9F\xEF\xF0\x90\xF4\x8F\xF5";
  for (int i = 0; i < 100000; ++i) {
    std::string text;
    for (int j = 0; j < 5; ++j) text += bytes[random() % bytes.size()];
    const auto decoded = DecodeAll(text);
    const bool replaced = std::find(decoded.begin(), decoded.end(), 0xFFFDu) != decoded.end();
    ASSERT_EQ(replaced, FirstInvalidUtf8(text).has_value());
  }
}

TextLengths Fit(size_t query, size_t document, int max_length, Truncation truncation) {
  PairOptions options;
  options.max_length = max_length;
  options.truncation = truncation;
  return FitPair({query, document}, {query, document}, 3, options).value();
}

TEST(Truncation, LongestFirstMatchesHuggingFace) {
  // query, document -> kept, at room 7: the table of Hugging Face's own test.
  const size_t cases[][4] = {{0, 8, 0, 7}, {2, 8, 2, 5}, {4, 4, 3, 4}, {4, 8, 3, 4}, {8, 0, 7, 0},
                             {8, 2, 5, 2}, {8, 4, 4, 3}, {8, 8, 3, 4}, {2, 4, 2, 4}, {100, 101, 3, 4}};
  for (const auto& c : cases) {
    const TextLengths kept = Fit(c[0], c[1], 10, Truncation::kLongestFirst);
    EXPECT_EQ(kept.query, c[2]) << c[0] << " " << c[1];
    EXPECT_EQ(kept.document, c[3]) << c[0] << " " << c[1];
  }
  EXPECT_EQ(Fit(5, 5, 3, Truncation::kLongestFirst).document, 0u);
}

TEST(Truncation, DocumentOnlyProtectsTheQuery) {
  const TextLengths kept = Fit(6, 100, 10, Truncation::kDocumentOnly);
  EXPECT_EQ(kept.query, 6u);
  EXPECT_EQ(kept.document, 1u);
  EXPECT_EQ(Fit(7, 100, 10, Truncation::kDocumentOnly).document, 0u);
  PairOptions options;
  options.max_length = 10;
  options.truncation = Truncation::kDocumentOnly;
  const Status status = FitPair({8, 1}, {8, 1}, 3, options).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), testing::HasSubstr("8 tokens, more than the 7"));
}

TEST(Truncation, RefusesALimitBelowTheSpecialTokens) {
  PairOptions options;
  for (const int limit : {2, 0, -5}) {
    options.max_length = limit;
    EXPECT_EQ(FitPair({0, 0}, {0, 0}, 3, options).status().code(), Code::kInvalidArgument);
  }
}

TEST(HotPath, DoesNotAllocateOnceWarm) {
  std::vector<std::string> vocab = {"[UNK]", "[CLS]", "[SEP]", "water", "un", "##aff", "##able", "cafe"};
  const auto tokenizer = MakeTokenizerFromVocab(vocab, {}).value();
  const std::string document =
      "Water, unaffable café [SEP] 中文 \xFF xyzzy 한국 e\xCC\x81 " + std::string(300, 'a');
  EncodedPairs out;
  std::vector<int32_t> query;
  const auto encode = [&] {
    query.clear();
    out.Clear();
    tokenizer->EncodeText(document, false, &query);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(tokenizer->AppendPair(query, document, {}, &out).ok());
  };
  encode();
  const int64_t before = allocations;
  encode();
  EXPECT_EQ(allocations - before, 0);
  EXPECT_GT(before, 0);
}

}  // namespace
}  // namespace rerankd
