// From text to normalised words: clean text, CJK spacing, accent stripping, lower case, then the split at
// white space and punctuation, in Hugging Face's order, streamed code point by code point.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary.h"

namespace rerankd {

struct Normalization {
  bool clean_text = true;
  bool chinese_chars = true;  // spaces around CJK ideographs
  bool strip_accents = true;
  bool lowercase = true;
};

// The normalisation with a byte table for the ASCII path. Immutable.
class WordRules {
 public:
  enum class Action : uint8_t { kGeneral, kLetter, kSpace, kPunctuation, kDrop };

  WordRules(const Normalization& normalization, int max_word_chars);

  const Normalization& normalization() const { return normalization_; }
  size_t max_word_chars() const { return max_word_chars_; }
  char letter(uint8_t byte) const { return letters_[byte]; }  // normalised; 0 unless kLetter
  Action action(uint8_t byte) const { return actions_[byte]; }

 private:
  Normalization normalization_;
  size_t max_word_chars_;
  std::array<char, 256> letters_{};
  std::array<Action, 256> actions_{};
};

// Code points [begin, end) of the original text.
struct TextSpan {
  int begin = 0;
  int end = 0;
};

// Memory that calls reuse. One per thread.
struct WordScratch {
  struct Combining {
    char32_t code_point;
    uint8_t combining_class;
    bool dropped;
    bool inserted;  // not the first of its decomposition
    TextSpan span;
  };
  std::vector<char> word;
  std::vector<TextSpan> spans;       // per byte of the word; only if the sink is aligned
  std::vector<Combining> combining;  // marks that wait for the next starter
  std::vector<TextSpan> mark_spans;  // their places in the text
};

// Sink: `static constexpr bool kAligned` (does it want spans?), Word(std::string_view padded_word, spans) and
// TooLong(TextSpan). Holds references; one Run per stream.
template <typename Sink>
class WordStream {
 public:
  WordStream(const WordRules& rules, WordScratch* scratch, Sink* sink)
      : rules_(rules), options_(rules.normalization()), scratch_(*scratch), sink_(*sink) {
    scratch_.word.resize(rules.max_word_chars() * 4 + Vocabulary::kPadding);
    scratch_.combining.clear();
  }

  // `first` is the code point offset of `text`, for the spans.
  void Run(std::string_view text, int first = 0) {
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    const uint8_t* const end = p + text.size();
    for (int index = first; p < end; ++index) {
      if constexpr (!Sink::kAligned) {
        if (scratch_.combining.empty()) p = RunAscii(p, end);
        if (p == end) break;
      }
      const unicode::Decoded decoded = unicode::DecodeUtf8(p, end);
      p += decoded.length;
      CleanText(decoded.code_point, {index, index + 1});
    }
    CloseWord();
  }

 private:
  using Action = WordRules::Action;

  // Handles ASCII up to the end or the first byte that needs the general path.
  const uint8_t* RunAscii(const uint8_t* p, const uint8_t* end) {
    while (true) {
      p = CopyLetters(p, end);
      if (p == end) return p;
      switch (rules_.action(*p)) {
        case Action::kLetter:
          too_long_ = true;
          while (p < end && rules_.action(*p) == Action::kLetter) ++p;
          continue;
        case Action::kSpace:
          EndWord();
          break;
        case Action::kPunctuation:
          EndWord();
          scratch_.word[0] = static_cast<char>(*p);
          bytes_ = chars_ = 1;
          EndWord();
          break;
        case Action::kDrop:
          break;
        case Action::kGeneral:
          return p;
      }
      ++p;
    }
  }

  const uint8_t* CopyLetters(const uint8_t* p, const uint8_t* end) {
    const size_t room = std::min(rules_.max_word_chars() - chars_, static_cast<size_t>(end - p));
    const uint8_t* const stop = p + room;
    const uint8_t* const start = p;
    char* out = scratch_.word.data() + bytes_;
    for (char letter; p < stop && (letter = rules_.letter(*p)) != 0; ++p) *out++ = letter;
    bytes_ += static_cast<size_t>(p - start);
    chars_ += static_cast<size_t>(p - start);
    return p;
  }

  void CleanText(char32_t c, TextSpan span) {
    const unicode::Properties properties = unicode::PropertiesOf(c);
    if (options_.clean_text) {
      if (properties.clean() == unicode::Clean::kDrop) return;
      if (properties.clean() == unicode::Clean::kToSpace) return CloseWord();
    }
    const bool alone = options_.chinese_chars && properties.chinese();
    if (alone) CloseWord();
    StripAccents(c, properties, span);
    if (alone) CloseWord();
  }

  void StripAccents(char32_t c, unicode::Properties properties, TextSpan span) {
    if (!options_.strip_accents) return Lowercase(c, properties, span);
    if (!properties.decomposes()) return Order(c, properties, span, false);
    char32_t buffer[unicode::kMaxDecomposition];
    bool inserted = false;
    for (const char32_t part : unicode::Decompose(c, buffer)) {
      Order(part, unicode::PropertiesOf(part), span, inserted);
      inserted = true;
    }
  }

  // Canonical ordering: marks wait for the next starter, which is passed on at once.
  void Order(char32_t c, unicode::Properties properties, TextSpan span, bool inserted) {
    const uint8_t combining_class = properties.combining_class();
    const bool dropped = properties.nonspacing_mark();
    if (combining_class == 0) {
      FlushCombining();
      last_ = span;
      if (!dropped) Lowercase(c, properties, span);
    } else if (Sink::kAligned || !dropped) {  // a dropped mark matters only for the spans of its neighbours
      scratch_.combining.push_back({c, combining_class, dropped, inserted, span});
    }
  }

  void FlushCombining() {
    auto& marks = scratch_.combining;
    if (marks.empty()) return;
    if constexpr (Sink::kAligned) CollectSpans();
    std::stable_sort(marks.begin(), marks.end(),
                     [](const auto& a, const auto& b) { return a.combining_class < b.combining_class; });
    size_t next = 0;
    for (const auto& mark : marks) {
      if (Sink::kAligned && !mark.inserted) last_ = scratch_.mark_spans[next++];
      if (!mark.dropped) Lowercase(mark.code_point, unicode::PropertiesOf(mark.code_point), last_);
    }
    marks.clear();
  }

  // Hugging Face aligns by position: after sorting, the n-th mark stands for the n-th of the text, and one
  // that a decomposition inserted stands where its predecessor does.
  void CollectSpans() {
    scratch_.mark_spans.clear();
    for (const auto& mark : scratch_.combining)
      if (!mark.inserted) scratch_.mark_spans.push_back(mark.span);
  }

  void Lowercase(char32_t c, unicode::Properties properties, TextSpan span) {
    if (!options_.lowercase || !properties.has_lowercase()) return Place(c, properties.kind(), span);
    char32_t buffer[unicode::kMaxDecomposition];
    for (const char32_t lower : unicode::Lowercase(c, buffer))
      Place(lower, unicode::PropertiesOf(lower).kind(), span);
  }

  void Place(char32_t c, unicode::Kind kind, TextSpan span) {
    if (kind == unicode::Kind::kWord) return Append(c, span);
    EndWord();
    if (kind == unicode::Kind::kSpace) return;
    Append(c, span);
    EndWord();
  }

  void Append(char32_t c, TextSpan span) {
    if (chars_ == 0) word_span_.begin = span.begin;
    word_span_.end = span.end;
    if (chars_ == rules_.max_word_chars()) {
      too_long_ = true;
      return;
    }
    const size_t length = unicode::EncodeUtf8(c, scratch_.word.data() + bytes_);
    bytes_ += length;
    ++chars_;
    if constexpr (Sink::kAligned) scratch_.spans.insert(scratch_.spans.end(), length, span);
  }

  // A boundary of the text: pending marks still belong to the word.
  void CloseWord() {
    FlushCombining();
    EndWord();
  }

  void EndWord() {
    if (too_long_)
      sink_.TooLong(word_span_);
    else if (bytes_ > 0)
      sink_.Word(std::string_view(scratch_.word.data(), bytes_), std::span<const TextSpan>(scratch_.spans));
    bytes_ = chars_ = 0;
    too_long_ = false;
    if constexpr (Sink::kAligned) scratch_.spans.clear();
  }

  const WordRules& rules_;
  const Normalization& options_;
  WordScratch& scratch_;
  Sink& sink_;
  size_t bytes_ = 0, chars_ = 0;  // of the open word
  bool too_long_ = false;
  TextSpan word_span_;
  TextSpan last_;  // of the starter before the waiting marks
};

}  // namespace rerankd
