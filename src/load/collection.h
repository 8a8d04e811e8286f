// A folder of queries, documents and candidates, as BEIR lays it out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "eval/trec.h"

namespace rerankd::load {

struct CollectionLimits {
  size_t queries = 0;     // 0 = all
  size_t documents = 0;   // of a query; 0 = all
  bool needs_run = true;  // false: without a run, what is judged are the candidates
};

// Immutable.
struct Collection {
  TrecRun candidates;
  Qrels qrels;                                             // empty = no judgements
  std::vector<std::pair<std::string, std::string>> pairs;  // of all candidates, query by query
};

// Files of the folder: queries.jsonl, corpus.jsonl (also .gz); run.trec (also .gz), or the one file in runs/;
// qrels.tsv, qrels/test.tsv, or neither. kNotFound, kInvalidArgument: name the file.
Result<Collection> LoadCollection(const std::string& folder, const CollectionLimits& limits);

}  // namespace rerankd::load
