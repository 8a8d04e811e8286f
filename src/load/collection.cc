#include "load/collection.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_set>

namespace rerankd::load {
namespace {

namespace fs = std::filesystem;

// The first of `names` that is in `folder`; "" if none is.
std::string FirstOf(const fs::path& folder, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names)
    if (fs::exists(folder / name, ignored)) return (folder / name).string();
  return "";
}

Result<std::string> Needed(const fs::path& folder, const std::vector<std::string>& names) {
  const std::string path = FirstOf(folder, names);
  if (path.empty()) return NotFound(fmt::format("{} has no {}", folder.string(), names.front()));
  return path;
}

// kNotFound: there is no run, or more than one.
Result<std::string> RunFile(const fs::path& folder) {
  const std::string beside = FirstOf(folder, {"run.trec", "run.trec.gz", "demo_run.trec"});
  if (!beside.empty()) return beside;
  std::vector<std::string> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / "runs", ignored))
    found.push_back(entry.path().string());
  if (found.size() == 1) return found.front();
  return NotFound(fmt::format("{} has no run.trec, and {} files in runs/ (1 is expected)", folder.string(),
                              found.size()));
}

// By query and document id, so that the order does not depend on the order of a hash table.
TrecRun Judged(const Qrels& qrels) {
  TrecRun run;
  for (const auto& [query, grades] : qrels) {
    QueryRun judged{query, {}};
    for (const auto& [id, grade] : grades) judged.docs.push_back({id, static_cast<double>(grade)});
    std::sort(judged.docs.begin(), judged.docs.end(), [](auto& a, auto& b) { return a.id < b.id; });
    run.push_back(std::move(judged));
  }
  std::sort(run.begin(), run.end(), [](auto& a, auto& b) { return a.query_id < b.query_id; });
  return run;
}

Result<TrecRun> Candidates(const fs::path& folder, const CollectionLimits& limits, const Qrels& qrels) {
  const auto path = RunFile(folder);
  if (path.ok()) return ReadRun(*path);
  if (limits.needs_run || qrels.empty()) return path.status();
  return Judged(qrels);
}

void Limit(const CollectionLimits& limits, TrecRun* run) {
  if (limits.queries > 0 && run->size() > limits.queries) run->resize(limits.queries);
  for (QueryRun& query : *run)
    if (limits.documents > 0 && query.docs.size() > limits.documents) query.docs.resize(limits.documents);
}

Result<std::string> TextOf(const Texts& texts, const std::string& id, const std::string& path) {
  const auto found = texts.find(id);
  if (found == texts.end())
    return NotFound(fmt::format("{} has no text of '{}', which is a candidate", path, id));
  return found->second;
}

Status ReadPairs(const std::string& queries_path, const std::string& corpus_path, Collection* collection) {
  std::unordered_set<std::string> wanted;
  for (const QueryRun& query : collection->candidates)
    for (const ScoredDoc& doc : query.docs) wanted.insert(doc.id);
  RERANKD_ASSIGN_OR_RETURN(const Texts queries, ReadTexts(queries_path, nullptr));
  RERANKD_ASSIGN_OR_RETURN(const Texts corpus, ReadTexts(corpus_path, &wanted));
  for (const QueryRun& query : collection->candidates) {
    RERANKD_ASSIGN_OR_RETURN(const std::string text, TextOf(queries, query.query_id, queries_path));
    for (const ScoredDoc& doc : query.docs) {
      RERANKD_ASSIGN_OR_RETURN(std::string document, TextOf(corpus, doc.id, corpus_path));
      collection->pairs.emplace_back(text, std::move(document));
    }
  }
  return {};
}

}  // namespace

Result<Collection> LoadCollection(const std::string& folder, const CollectionLimits& limits) {
  Collection collection;
  const std::string qrels = FirstOf(folder, {"qrels.tsv", "qrels/test.tsv", "demo_qrels.tsv"});
  if (!qrels.empty()) {
    RERANKD_ASSIGN_OR_RETURN(collection.qrels, ReadQrels(qrels));
  }
  RERANKD_ASSIGN_OR_RETURN(collection.candidates, Candidates(folder, limits, collection.qrels));
  Limit(limits, &collection.candidates);
  if (collection.candidates.empty()) return InvalidArgument(folder + " holds no query with candidates");
  RERANKD_ASSIGN_OR_RETURN(const std::string queries,
                           Needed(folder, {"queries.jsonl", "queries.jsonl.gz", "demo_queries.jsonl"}));
  RERANKD_ASSIGN_OR_RETURN(const std::string corpus,
                           Needed(folder, {"corpus.jsonl", "corpus.jsonl.gz", "demo_corpus.jsonl"}));
  RERANKD_RETURN_IF_ERROR(ReadPairs(queries, corpus, &collection));
  // Queries that were left out are not judged here: they would count 0.
  std::unordered_set<std::string> kept;
  for (const QueryRun& query : collection.candidates) kept.insert(query.query_id);
  if (limits.queries > 0)
    std::erase_if(collection.qrels, [&](const auto& entry) { return !kept.contains(entry.first); });
  return collection;
}

}  // namespace rerankd::load
