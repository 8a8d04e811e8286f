#include "tokenizer/wordpiece_tokenizer.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "tokenizer/truncation.h"

namespace rerankd {
namespace {

constexpr int kMaxWordCharsLimit = 1000;

WordScratch& ThreadScratch() {
  thread_local WordScratch scratch;
  return scratch;
}

class IdSink {
 public:
  static constexpr bool kAligned = false;
  IdSink(const Vocabulary& vocabulary, std::vector<int32_t>* ids) : vocabulary_(vocabulary), ids_(ids) {}
  void Word(std::string_view word, std::span<const TextSpan>) { vocabulary_.EncodeWord(word, ids_); }
  void TooLong(TextSpan) { ids_->push_back(vocabulary_.unknown_id()); }

 private:
  const Vocabulary& vocabulary_;
  std::vector<int32_t>* ids_;
};

class DisplaySink {
 public:
  static constexpr bool kAligned = true;
  DisplaySink(const Vocabulary& vocabulary, uint8_t type_id, std::vector<DisplayToken>* out)
      : vocabulary_(vocabulary), type_id_(type_id), out_(out) {}

  void Word(std::string_view word, std::span<const TextSpan> spans) {
    pieces_.clear();
    vocabulary_.EncodeWord(word, &pieces_);
    if (pieces_.size() == 1) return Push(pieces_[0], {spans.front().begin, spans.back().end});
    size_t begin = 0;
    for (const int32_t id : pieces_) {
      const size_t length = vocabulary_.token(id).size() - (begin == 0 ? 0 : 2);  // "##"
      Push(id, {spans[begin].begin, spans[begin + length - 1].end});
      begin += length;
    }
  }
  void TooLong(TextSpan span) { Push(vocabulary_.unknown_id(), span); }
  void Push(int32_t id, TextSpan span) {
    out_->push_back({id, vocabulary_.token(id), type_id_, span.begin, span.end});
  }

 private:
  const Vocabulary& vocabulary_;
  const uint8_t type_id_;
  std::vector<DisplayToken>* out_;
  std::vector<int32_t> pieces_;
};

template <typename T>
std::span<const T> Keep(std::span<const T> tokens, size_t count, bool left) {
  return left ? tokens.last(count) : tokens.first(count);
}

// Tokens of a text up to the end of the word with which it reaches max_length of them, counted from the end
// that truncation keeps. `id_at(i)` = id of token i.
template <typename IdAt>
size_t CountedLength(size_t size, const Vocabulary& vocabulary, const PairOptions& options,
                     const IdAt& id_at) {
  size_t count = std::min(size, static_cast<size_t>(std::max(options.max_length, 0)));
  if (options.truncate_left) {
    while (count > 0 && count < size && vocabulary.continues(id_at(size - count))) ++count;
  } else {
    while (count < size && vocabulary.continues(id_at(count))) ++count;
  }
  return count;
}

void PushSpecial(std::span<const EncodingTemplate::Special> tokens, EncodedPairs* out) {
  for (const auto& token : tokens) out->PushToken(token.id, token.type_id);
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> WordPieceTokenizer::Make(WordPieceSpec spec) {
  if (spec.max_word_chars < 1 || spec.max_word_chars > kMaxWordCharsLimit)
    return FailedPrecondition(fmt::format("max_input_chars_per_word {} is not within 1 and {}",
                                          spec.max_word_chars, kMaxWordCharsLimit));
  auto vocabulary = Vocabulary::Build(std::move(spec.vocab), spec.unknown_token, spec.max_word_chars);
  if (!vocabulary.ok()) return vocabulary.status();
  for (const AddedToken& token : spec.added) vocabulary->SetText(token.id, token.content);
  return std::unique_ptr<Tokenizer>(
      new WordPieceTokenizer(std::move(spec), std::move(vocabulary).value()));  // the constructor is private
}

WordPieceTokenizer::WordPieceTokenizer(WordPieceSpec spec, Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      rules_(spec.normalization, spec.max_word_chars),
      single_(std::move(spec.single)),
      pair_(std::move(spec.pair)) {
  for (AddedToken& token : spec.added) added_.Add(std::move(token));
}

template <typename OnText, typename OnToken>
void WordPieceTokenizer::Segment(std::string_view text, bool escape_special, OnText on_text,
                                 OnToken on_token) const {
  size_t done = 0;
  for (size_t from = 0;;) {
    const AddedTokens::Match match = added_.Find(text, from);
    if (match.token != nullptr && escape_special && match.token->special) {
      from = match.begin + match.token->content.size();
      continue;
    }
    if (match.begin > done) on_text(text.substr(done, match.begin - done));
    if (match.token == nullptr) return;
    on_token(*match.token);
    done = from = match.begin + match.token->content.size();
  }
}

void WordPieceTokenizer::EncodeText(std::string_view text, bool escape_special,
                                    std::vector<int32_t>* ids) const {
  IdSink sink(vocabulary_, ids);
  WordScratch& scratch = ThreadScratch();
  Segment(
      text, escape_special,
      [&](std::string_view segment) { WordStream<IdSink>(rules_, &scratch, &sink).Run(segment); },
      [&](const AddedToken& token) { ids->push_back(token.id); });
}

Status WordPieceTokenizer::AppendEncoded(std::span<const int32_t> query, std::span<const int32_t> document,
                                         const PairOptions& options, EncodedPairs* out) const {
  const auto counted = [&](std::span<const int32_t> text) {
    return CountedLength(text.size(), vocabulary_, options, [&](size_t i) { return text[i]; });
  };
  RERANKD_ASSIGN_OR_RETURN(const TextLengths kept,
                           FitPair({query.size(), document.size()}, {counted(query), counted(document)},
                                   pair_.overhead(), options));
  PushSpecial(pair_.before, out);
  out->PushTokens(Keep(query, kept.query, options.truncate_left), pair_.query_type);
  PushSpecial(pair_.between, out);
  out->PushTokens(Keep(document, kept.document, options.truncate_left), pair_.document_type);
  PushSpecial(pair_.after, out);
  out->ClosePair(static_cast<int>(query.size() + document.size() + pair_.overhead()));
  return {};
}

std::vector<DisplayToken> WordPieceTokenizer::Display(std::string_view text, uint8_t type_id,
                                                      bool escape_special) const {
  std::vector<DisplayToken> tokens;
  DisplaySink sink(vocabulary_, type_id, &tokens);
  WordScratch scratch;
  int at = 0;  // code points so far
  Segment(
      text, escape_special,
      [&](std::string_view segment) {
        WordStream<DisplaySink>(rules_, &scratch, &sink).Run(segment, at);
        at += unicode::CountCodePoints(segment);
      },
      [&](const AddedToken& token) {
        const int length = unicode::CountCodePoints(token.content);
        sink.Push(token.id, {at, at + length});
        at += length;
      });
  return tokens;
}

Result<std::vector<DisplayToken>> WordPieceTokenizer::Explain(std::string_view text, std::string_view pair,
                                                              const PairOptions& options) const {
  const bool has_pair = pair.data() != nullptr;
  const EncodingTemplate& form = has_pair ? pair_ : single_;
  const auto first = Display(text, form.query_type, options.escape_special);
  const auto second = Display(pair, form.document_type, options.escape_special);
  const auto counted = [&](std::span<const DisplayToken> shown) {
    return CountedLength(shown.size(), vocabulary_, options, [&](size_t i) { return shown[i].id; });
  };
  // A lone text is cut as a document would be.
  const auto as_pair = [&](size_t a, size_t b) { return has_pair ? TextLengths{a, b} : TextLengths{0, a}; };
  RERANKD_ASSIGN_OR_RETURN(const TextLengths kept,
                           FitPair(as_pair(first.size(), second.size()),
                                   as_pair(counted(first), counted(second)), form.overhead(), options));

  std::vector<DisplayToken> tokens;
  const auto push_special = [&](const std::vector<EncodingTemplate::Special>& specials) {
    for (const auto& special : specials)
      tokens.push_back({special.id, vocabulary_.token(special.id), special.type_id, 0, 0});
  };
  const auto push_text = [&](std::span<const DisplayToken> all, size_t count) {
    const auto part = Keep(all, count, options.truncate_left);
    tokens.insert(tokens.end(), part.begin(), part.end());
  };
  push_special(form.before);
  push_text(first, has_pair ? kept.query : kept.document);
  push_special(form.between);
  push_text(second, has_pair ? kept.document : 0);
  push_special(form.after);
  return tokens;
}

}  // namespace rerankd
