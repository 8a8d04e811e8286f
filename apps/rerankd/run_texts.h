// A TREC run with the texts that it names.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "core/request.h"
#include "eval/trec.h"

namespace rerankd {

struct RunFiles {
  std::string queries, corpus, run;  // BEIR, BEIR, TREC; .gz too
};

struct RunTexts {
  TrecRun run;
  Texts queries, corpus;  // the corpus: documents of the run only
};

// kNotFound names a query or document of the run without a text.
Result<RunTexts> ReadRunTexts(const RunFiles& files);

// The documents of one query, in the order of the run. Texts that are not UTF-8 are counted in *repaired.
ScoreRequest RequestFor(const QueryRun& query, const RunTexts& texts, int64_t* repaired);

}  // namespace rerankd
