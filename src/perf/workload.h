// What is scored while the clock runs: requests of up to 100 documents, as text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "core/request.h"
#include "core/tokenizer.h"

namespace rerankd::perf {

struct Workload {
  std::string name;  // "text", or the number of tokens of every pair
  std::vector<ScoreRequest> requests;

  int64_t pairs() const;
};

inline constexpr size_t kDocumentsPerRequest = 100;

// Pairs in their order, cut into requests.
Workload TextWorkload(std::vector<std::pair<std::string, std::string>> pairs);

// `pairs` pairs of exactly `tokens` tokens, made of common words that are a token each. kInvalidArgument: too
// few tokens for a pair; kFailedPrecondition: the tokenizer has none of those words.
Result<Workload> FixedLengthWorkload(const Tokenizer& tokenizer, int tokens, int64_t pairs);

}  // namespace rerankd::perf
