// How well the served model ranks, measured on the server that was just measured for speed: candidates of a
// first stage are ranked again, by raw logits, and compared with judgements, with the same model in fp32 and
// with given scores.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "config/settings.h"
#include "eval/trec.h"
#include "experiment/record.h"
#include "load/dataset.h"
#include "load/target.h"

namespace rerankd::experiment {

// What is ranked. Immutable.
struct QualitySet {
  std::string name;
  TrecRun candidates;   // with at most settings.documents each
  load::Dataset pairs;  // of all candidates, query by query
  Qrels qrels;          // empty = no judgements
  std::optional<TrecRun> given;
};

// Files of the folder: queries.jsonl, corpus.jsonl (also .gz); run.trec, or the one file in runs/; qrels.tsv,
// qrels/test.tsv, or neither. kNotFound, kInvalidArgument: name the file.
Result<QualitySet> LoadQualitySet(const QualitySettings& settings);

// The candidates in the order of the target's scores.
Result<TrecRun> RankOnServer(const QualitySet& set, const load::Target& target,
                             const std::atomic<bool>& interrupt);

// `fp32`: the same candidates ranked in fp32; null = not known.
QualityRecord MeasureQuality(const QualitySet& set, const TrecRun& ranked, const TrecRun* fp32);

// Two runs that agree in this have the same scores in fp32.
std::string ReferenceKey(const Settings& settings);
// `settings` with every instance in fp32.
Settings InFp32(Settings settings);

}  // namespace rerankd::experiment
