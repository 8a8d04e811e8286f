#include "experiment/token_lengths.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "experiment/stats.h"

namespace rerankd::experiment {
namespace {

constexpr size_t kMostPairs = 5000;

size_t TokensOf(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  tokenizer.EncodeText(text, false, &ids);
  return ids.size();
}

}  // namespace

std::optional<TokenLengths> MeasureTokenLengths(const Settings& settings, const load::Dataset& dataset) {
  const auto tokenizer = LoadModelTokenizer(settings);
  if (!tokenizer.ok() || dataset.pairs.empty()) return std::nullopt;
  const auto overhead = static_cast<size_t>((*tokenizer)->pair_overhead());
  std::vector<double> lengths;
  for (const auto& [query, document] : dataset.pairs) {
    if (lengths.size() == kMostPairs) break;
    const size_t tokens = TokensOf(**tokenizer, query) + TokensOf(**tokenizer, document) + overhead;
    lengths.push_back(static_cast<double>(tokens));
  }
  std::sort(lengths.begin(), lengths.end());
  TokenLengths result;
  result.pairs = static_cast<int64_t>(lengths.size());
  result.mean = std::accumulate(lengths.begin(), lengths.end(), 0.0) / static_cast<double>(lengths.size());
  result.min = lengths.front();
  result.p50 = Percentile(lengths, 50);
  result.p95 = Percentile(lengths, 95);
  result.p99 = Percentile(lengths, 99);
  result.max = lengths.back();
  return result;
}

}  // namespace rerankd::experiment
