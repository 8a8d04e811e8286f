// Retrieval metrics with the definitions of trec_eval: nDCG with linear gain and log2 discount, MRR, (mean)
// average precision, recall, precision. Binary metrics count grades >= a relevance level.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/trec.h"

namespace rerankd {

struct Metric {
  enum class Kind { kNdcg, kMrr, kMap, kRecall, kPrecision };
  Kind kind = Kind::kNdcg;
  int cutoff = 0;            // 0 = the whole ranking
  std::string name() const;  // "ndcg@10"
};

// Comma-separated: ndcg@10, mrr@10, map, map@100, recall@100, p@10.
Result<std::vector<Metric>> ParseMetrics(std::string_view list);

// One query: `docs` best first, `grades` its judgements. 0 when nothing relevant is judged.
double EvaluateQuery(const Metric& metric, const std::vector<ScoredDoc>& docs,
                     const std::unordered_map<std::string, int>& grades, int relevance_level);

struct QueryScore {
  std::string query_id;
  double value = 0;
};

// Every judged query, sorted by id; one without run lines counts 0. TrecRun queries without judgements are
// left out.
std::vector<QueryScore> Evaluate(const Metric& metric, const TrecRun& run, const Qrels& qrels,
                                 int relevance_level);

double Mean(const std::vector<QueryScore>& scores);

}  // namespace rerankd
