// The files of retrieval evaluation: TREC runs, qrels (TREC or BEIR), BEIR queries and corpora. Plain or
// gzip. Errors name file and line.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/status.h"

namespace rerankd {

struct ScoredDoc {
  std::string id;
  double score = 0;
};

struct QueryRun {
  std::string query_id;
  std::vector<ScoredDoc> docs;  // best first
};

// Queries in the order of the file; documents ordered as trec_eval orders them: score (as float) descending,
// ties by document id descending. The rank column is not consulted.
using TrecRun = std::vector<QueryRun>;

// query id -> document id -> grade.
using Qrels = std::unordered_map<std::string, std::unordered_map<std::string, int>>;

// id -> text.
using Texts = std::unordered_map<std::string, std::string>;

Result<TrecRun> ReadRun(const std::string& path);
Result<Qrels> ReadQrels(const std::string& path);  // 4 columns (TREC), or 3 with or without header (BEIR)

// Puts `docs` into trec_eval's order.
void SortAsTrecEval(std::vector<ScoredDoc>* docs);

// "qid Q0 docid rank score tag" lines, ranks from 1, scores as %.9g, in the order given.
std::string FormatRun(const QueryRun& run, std::string_view tag);

// JSONL of {"_id", "text", optional "title"}: title and text joined by a space where a title exists.
// Only ids in `wanted` are kept, unless it is null.
Result<Texts> ReadTexts(const std::string& path, const std::unordered_set<std::string>* wanted);

}  // namespace rerankd
