#include "run_texts.h"

#include <fmt/format.h>

#include <unordered_set>

#include "common.h"

namespace rerankd {

Result<RunTexts> ReadRunTexts(const RunFiles& files) {
  RunTexts texts;
  RERANKD_ASSIGN_OR_RETURN(texts.run, ReadRun(files.run));
  RERANKD_ASSIGN_OR_RETURN(texts.queries, ReadTexts(files.queries, nullptr));
  std::unordered_set<std::string> wanted;
  for (const QueryRun& query : texts.run) {
    if (texts.queries.count(query.query_id) == 0)
      return NotFound(
          fmt::format("query '{}' of '{}' is not in '{}'", query.query_id, files.run, files.queries));
    for (const ScoredDoc& doc : query.docs) wanted.insert(doc.id);
  }
  RERANKD_ASSIGN_OR_RETURN(texts.corpus, ReadTexts(files.corpus, &wanted));
  for (const QueryRun& query : texts.run)
    for (const ScoredDoc& doc : query.docs)
      if (texts.corpus.count(doc.id) == 0)
        return NotFound(fmt::format("document '{}' of '{}' is not in '{}'", doc.id, files.run, files.corpus));
  return texts;
}

ScoreRequest RequestFor(const QueryRun& query, const RunTexts& texts, int64_t* repaired) {
  std::vector<std::string> documents;
  for (const ScoredDoc& doc : query.docs) {
    documents.push_back(texts.corpus.at(doc.id));
    CheckUtf8(documents.back(), repaired);
  }
  const std::string& text = texts.queries.at(query.query_id);
  CheckUtf8(text, repaired);
  return ScoreRequest::ForQuery(text, std::move(documents));
}

}  // namespace rerankd
