// rerankd rank: documents of one query, or a whole TREC run, best first.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/progress.h"
#include "command.h"
#include "common.h"
#include "run_texts.h"

namespace rerankd {
namespace {

struct RankFlags {
  ConfigFlags config;
  std::string query, docs = "-";  // one query
  RunFiles files;                 // a whole run
  std::string output;
  std::string activation = "raw";
  int top_n = 0;
  bool json = false, quiet = false;
};

// --- one query
// -------------------------------------------------------------------------------------------------

// One document a line: plain text, or JSON objects with "text" when the first line starts with "{".
Result<std::vector<std::string>> ReadDocuments(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::vector<std::string> documents;
  std::optional<bool> jsonl;
  for (std::string line; reader.Next(&line);) {
    if (!jsonl) jsonl = !line.empty() && line[0] == '{';
    if (!*jsonl) {
      documents.push_back(line);
      continue;
    }
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("text") || !json["text"].is_string())
      return InvalidArgument(
          fmt::format("{}:{}: not a JSON object with the string 'text'", path, reader.line_number()));
    documents.push_back(json["text"].get<std::string>());
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  if (documents.empty()) return InvalidArgument("'" + path + "' holds no document: write one a line");
  return documents;
}

void PrintRankedJson(const std::vector<int>& order, const ScoreResult& result, std::span<const float> keys,
                     const std::vector<std::string>& documents) {
  auto json = nlohmann::ordered_json::array();
  for (const int i : order) {
    const auto at = static_cast<size_t>(i);
    json.push_back({{"index", i},
                    {"score", keys[at]},
                    {"tokens", result.tokens[at]},
                    {"truncated", result.truncated[at] != 0},
                    {"text", documents[at]}});
  }
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// Documents are cut to the width of a terminal, never in a pipe or file.
void PrintRankedTable(const std::vector<int>& order, std::span<const float> keys,
                      const std::vector<std::string>& documents) {
  winsize size{};
  const bool terminal = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 40;
  const size_t width = terminal ? static_cast<size_t>(size.ws_col) - 22 : std::string::npos;
  fmt::print("{:>4}  {:>6}  {:>9}  {}\n", "rank", "index", "score", "document");
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const auto at = static_cast<size_t>(order[rank]);
    fmt::print("{:>4}  {:>6}  {:>9.4f}  {}\n", rank + 1, order[rank], keys[at],
               documents[at].substr(0, width));
  }
}

// The value that orders a document: its activated score; the last label's for models with several.
std::vector<float> OrderKeys(Activation activation, ScoreResult* result) {
  Activate(activation, result->num_labels, result->logits);
  std::vector<float> keys;
  const auto labels = static_cast<size_t>(result->num_labels);
  for (size_t i = labels - 1; i < result->logits.size(); i += labels) keys.push_back(result->logits[i]);
  return keys;
}

Status RankOneQuery(const RankFlags& flags, Engine& engine, Activation activation) {
  RERANKD_ASSIGN_OR_RETURN(const std::vector<std::string> documents, ReadDocuments(flags.docs));
  Throughput throughput;
  CheckUtf8(flags.query, &throughput.repaired);
  for (const std::string& document : documents) CheckUtf8(document, &throughput.repaired);
  throughput.start = SteadyClock::Get().Now();
  RERANKD_ASSIGN_OR_RETURN(ScoreResult result, engine.Score(ScoreRequest::ForQuery(flags.query, documents)));
  throughput.Count(result);
  const std::vector<float> keys = OrderKeys(activation, &result);
  const std::vector<int> order = RankDescending(keys, flags.top_n);
  if (flags.json) {
    PrintRankedJson(order, result, keys, documents);
  } else {
    PrintRankedTable(order, keys, documents);
  }
  if (!flags.quiet) throughput.Print(engine.model().max_length);
  return {};
}

// --- a whole run
// -----------------------------------------------------------------------------------------------

QueryRun Reranked(const QueryRun& query, std::span<const float> keys, int top_n) {
  QueryRun reranked{query.query_id, {}};
  for (const int i : RankDescending(keys, top_n)) {
    const auto at = static_cast<size_t>(i);
    reranked.docs.push_back({query.docs[at].id, keys[at]});
  }
  return reranked;
}

Status RankRun(const RankFlags& flags, Engine& engine, Activation activation) {
  RERANKD_ASSIGN_OR_RETURN(const RunTexts texts, ReadRunTexts(flags.files));
  int64_t total = 0;
  for (const QueryRun& query : texts.run) total += static_cast<int64_t>(query.docs.size());
  Throughput throughput;
  std::string output;
  size_t next = 0;
  {
    ProgressBar bar("ranking", total, "pairs", !flags.quiet);
    OrderedScorer scorer(engine, [&](ScoreResult result) {
      throughput.Count(result);
      output +=
          FormatRun(Reranked(texts.run[next++], OrderKeys(activation, &result), flags.top_n), "rerankd");
      bar.Set(throughput.pairs);
      return Status();
    });
    for (const QueryRun& query : texts.run)
      RERANKD_RETURN_IF_ERROR(scorer.Push(RequestFor(query, texts, &throughput.repaired)));
    RERANKD_RETURN_IF_ERROR(scorer.Finish());
  }
  if (flags.output == "-") {
    fmt::print("{}", output);
  } else {
    RERANKD_RETURN_IF_ERROR(WriteFileAtomically(flags.output, output));
  }
  if (!flags.quiet) throughput.Print(engine.model().max_length);
  return {};
}

Status RunRank(const RankFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(Settings settings, flags.config.Load());
  RERANKD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, StartEmbedded(std::move(settings)));
  RERANKD_ASSIGN_OR_RETURN(const Activation activation, ChooseActivation(flags.activation, engine->model()));
  return flags.files.run.empty() ? RankOneQuery(flags, *engine, activation)
                                 : RankRun(flags, *engine, activation);
}

}  // namespace

void AddRank(CLI::App& app, Action* action) {
  auto flags = std::make_shared<RankFlags>();
  CLI::App* command = app.add_subcommand("rank", "rank documents for a query, or re-rank a whole TREC run");
  command->footer(
      "Examples:\n"
      "  rerankd rank --query 'how do plants drink' --docs passages.txt --top-n 5\n"
      "  rerankd rank --queries queries.jsonl --corpus corpus.jsonl --run bm25.trec --output reranked.trec");
  auto* query = command->add_option("--query", flags->query, "the query");
  command->add_option("--docs", flags->docs, "documents, one a line or JSONL with 'text'; - = standard input")
      ->needs(query);
  auto* run =
      command->add_option("--run", flags->files.run, "TREC run to re-rank (.gz too)")->excludes(query);
  auto* queries = command->add_option("--queries", flags->files.queries, "BEIR queries.jsonl")->needs(run);
  auto* corpus = command->add_option("--corpus", flags->files.corpus, "BEIR corpus.jsonl")->needs(run);
  auto* output =
      command->add_option("--output", flags->output, "TREC run to write; - = standard output")->needs(run);
  run->needs(queries)->needs(corpus)->needs(output);
  command->add_option("--top-n", flags->top_n, "keep the best N of each query; 0 = all")
      ->check(CLI::Range(0, 1 << 30));
  command->add_option("--activation", flags->activation, "raw logit, or the model's own, sigmoid, softmax")
      ->check(CLI::IsMember({"raw", "model", "sigmoid", "softmax"}));
  command->add_flag("--json", flags->json, "JSON instead of a table")->needs(query);
  command->add_flag("--quiet", flags->quiet, "no progress bar, no throughput line");
  flags->config.AddTo(*command, {"model."});
  command->callback([flags, action, query, run] {
    if (query->count() + run->count() == 0) throw CLI::ValidationError("rank", "needs --query or --run");
    *action = [flags] { return ExitCode(RunRank(*flags)); };
  });
}

}  // namespace rerankd
