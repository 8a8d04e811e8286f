#include "perf/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <random>

namespace rerankd::perf {
namespace {

constexpr const char* kCommonWords[] = {
    "the", "of",   "and", "to",    "in",    "is",   "for",   "that", "it",   "on",   "as",    "with",
    "by",  "from", "at",  "water", "house", "city", "name",  "year", "work", "time", "state", "school",
    "a",   "his",  "was", "world", "river", "book", "music", "red",  "line", "land", "food",  "day"};

std::vector<std::string> SingleTokenWords(const Tokenizer& tokenizer) {
  std::vector<std::string> words;
  for (const char* word : kCommonWords) {
    std::vector<int32_t> ids;
    tokenizer.EncodeText(word, false, &ids);
    if (ids.size() == 1) words.emplace_back(word);
  }
  return words;
}

}  // namespace

int64_t Workload::pairs() const {
  int64_t count = 0;
  for (const ScoreRequest& request : requests) count += static_cast<int64_t>(request.documents.size());
  return count;
}

Workload TextWorkload(std::vector<std::pair<std::string, std::string>> pairs) {
  Workload workload{"text", {}};
  for (size_t first = 0; first < pairs.size(); first += kDocumentsPerRequest) {
    const auto begin = pairs.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end =
        begin + static_cast<std::ptrdiff_t>(std::min(kDocumentsPerRequest, pairs.size() - first));
    workload.requests.push_back(
        ScoreRequest::ForPairs({std::make_move_iterator(begin), std::make_move_iterator(end)}));
  }
  return workload;
}

Result<Workload> FixedLengthWorkload(const Tokenizer& tokenizer, int tokens, int64_t pairs) {
  const int words = tokens - tokenizer.pair_overhead();
  if (words < 2)
    return InvalidArgument(
        fmt::format("pairs of {} tokens: at least {} are needed", tokens, tokenizer.pair_overhead() + 2));
  const std::vector<std::string> known = SingleTokenWords(tokenizer);
  if (known.empty())
    return FailedPrecondition("this tokenizer has no common English word as one token; measure with --data");
  std::mt19937 engine(1);
  const auto text = [&](int count) {
    std::string joined;
    for (int i = 0; i < count; ++i) joined += (i == 0 ? "" : " ") + known[engine() % known.size()];
    return joined;
  };
  const int query_words = std::clamp(words / 3, 1, 8);
  const std::string query = text(query_words);
  std::vector<std::pair<std::string, std::string>> made;
  for (int64_t i = 0; i < pairs; ++i) made.emplace_back(query, text(words - query_words));
  Workload workload = TextWorkload(std::move(made));
  workload.name = std::to_string(tokens);
  return workload;
}

}  // namespace rerankd::perf
