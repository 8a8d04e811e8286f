// rerankd score: pairs in, one line of scores a pair out, in order, in constant memory.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"
#include "command.h"
#include "common.h"

namespace rerankd {
namespace {

struct ScoreFlags {
  ConfigFlags config;
  std::string input = "-", output = "-", format = "tsv", activation = "raw";
  bool quiet = false;
};

using TextPair = std::pair<std::string, std::string>;

// One input line of either format; errors do not yet name the line.
Result<TextPair> ParsePair(const std::string& line, bool jsonl) {
  if (!jsonl) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) return InvalidArgument("no TAB between query and document (--format tsv)");
    return TextPair{line.substr(0, tab), line.substr(tab + 1)};
  }
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("query") || !json.contains("document") ||
      !json["query"].is_string() || !json["document"].is_string())
    return InvalidArgument("not a JSON object with the strings 'query' and 'document' (--format jsonl)");
  return TextPair{json["query"].get<std::string>(), json["document"].get<std::string>()};
}

Status WriteScores(ScoreResult result, Activation activation, std::FILE* out) {
  Activate(activation, result.num_labels, result.logits);
  std::string text;
  for (size_t i = 0; i < result.logits.size(); ++i) {
    const bool row_ends = (i + 1) % static_cast<size_t>(result.num_labels) == 0;
    fmt::format_to(std::back_inserter(text), "{:.9g}{}", result.logits[i], row_ends ? '\n' : '\t');
  }
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size())
    return Internal("cannot write the scores: disk full or pipe closed");
  return {};
}

Status ScoreAll(const ScoreFlags& flags, Engine& engine, std::FILE* out) {
  constexpr size_t kPairsPerRequest = 256;
  RERANKD_ASSIGN_OR_RETURN(const Activation activation, ChooseActivation(flags.activation, engine.model()));
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(flags.input));
  Throughput throughput;
  OrderedScorer scorer(engine, [&](ScoreResult result) {
    throughput.Count(result);
    return WriteScores(std::move(result), activation, out);
  });
  std::vector<TextPair> pairs;
  const auto flush = [&] { return scorer.Push(ScoreRequest::ForPairs(std::exchange(pairs, {}))); };
  for (std::string line; reader.Next(&line);) {
    auto pair = ParsePair(line, flags.format == "jsonl");
    if (!pair.ok()) return pair.status().WithContext(fmt::format("{}:{}", flags.input, reader.line_number()));
    CheckUtf8(pair->first, &throughput.repaired);
    CheckUtf8(pair->second, &throughput.repaired);
    pairs.push_back(std::move(*pair));
    if (pairs.size() == kPairsPerRequest) RERANKD_RETURN_IF_ERROR(flush());
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  if (!pairs.empty()) RERANKD_RETURN_IF_ERROR(flush());
  RERANKD_RETURN_IF_ERROR(scorer.Finish());
  if (!flags.quiet) throughput.Print(engine.model().max_length);
  return {};
}

Status RunScore(const ScoreFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(Settings settings, flags.config.Load());
  RERANKD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, StartEmbedded(std::move(settings)));
  if (flags.output == "-") {
    RERANKD_RETURN_IF_ERROR(ScoreAll(flags, *engine, stdout));
    return std::fflush(stdout) == 0 ? Status()
                                    : Internal("cannot write the scores: disk full or pipe closed");
  }
  std::FILE* out = std::fopen(flags.output.c_str(), "wb");
  if (out == nullptr) return InvalidArgument("cannot create '" + flags.output + "'; choose another --output");
  Status status = ScoreAll(flags, *engine, out);
  if (std::fclose(out) != 0 && status.ok())
    status = Internal("cannot write '" + flags.output + "': disk full");
  return status;
}

}  // namespace

void AddScore(CLI::App& app, Action* action) {
  auto flags = std::make_shared<ScoreFlags>();
  CLI::App* command = app.add_subcommand("score", "score query-document pairs, one line a pair");
  command->footer("Example:\n  printf 'what is tea\\tTea is a drink made from leaves.\\n' | rerankd score");
  command->add_option("--input", flags->input, "file (.gz too), - = standard input");
  command->add_option("--format", flags->format, "tsv: query TAB document; jsonl: {\"query\", \"document\"}")
      ->check(CLI::IsMember({"tsv", "jsonl"}));
  command->add_option("--output", flags->output, "file, - = standard output");
  command->add_option("--activation", flags->activation, "raw logit, or the model's own, sigmoid, softmax")
      ->check(CLI::IsMember({"raw", "model", "sigmoid", "softmax"}));
  command->add_flag("--quiet", flags->quiet, "no throughput line");
  flags->config.AddTo(*command, {"model."});
  command->callback([flags, action] { *action = [flags] { return ExitCode(RunScore(*flags)); }; });
}

}  // namespace rerankd
