// rerankd tokenize: what a text becomes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "common.h"

namespace rerankd {
namespace {

struct TokenizeFlags {
  ConfigFlags config;
  std::string text, pair;
  bool has_pair = false, json = false;
};

void PrintJson(const std::vector<DisplayToken>& tokens) {
  auto json = nlohmann::ordered_json::array();
  for (const DisplayToken& token : tokens)
    json.push_back({{"id", token.id},
                    {"token", token.token},
                    {"type_id", token.type_id},
                    {"start", token.begin},
                    {"end", token.end}});
  fmt::print("{}\n", json.dump(2));
}

void PrintTable(const std::vector<DisplayToken>& tokens) {
  fmt::print("{:>5}  {:>6}  {:>4}  {:>11}  {}\n", "index", "id", "type", "offsets", "token");
  for (size_t i = 0; i < tokens.size(); ++i)
    fmt::print("{:>5}  {:>6}  {:>4}  {:>11}  {}\n", i, tokens[i].id, tokens[i].type_id,
               fmt::format("{}-{}", tokens[i].begin, tokens[i].end), tokens[i].token);
}

Status RunTokenize(const TokenizeFlags& flags) {
  RERANKD_ASSIGN_OR_RETURN(Settings settings, flags.config.Load());
  RERANKD_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer, LoadModelTokenizer(settings));
  PairOptions options;
  options.max_length = settings.instances[0].max_length;
  const std::string_view pair = flags.has_pair ? std::string_view(flags.pair) : std::string_view();
  RERANKD_ASSIGN_OR_RETURN(const std::vector<DisplayToken> tokens,
                           tokenizer->Explain(flags.text, pair, options));
  (flags.json ? PrintJson : PrintTable)(tokens);
  return {};
}

}  // namespace

void AddTokenize(CLI::App& app, Action* action) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command =
      app.add_subcommand("tokenize", "ids, tokens and offsets (code points) of a text or a pair");
  command->footer("Example:\n  rerankd tokenize --text 'what is tea' --pair 'Tea is a drink.'");
  command->add_option("--text", flags->text, "the text, or the query of a pair")->required();
  auto* pair = command->add_option("--pair", flags->pair, "the document of the pair");
  command->add_flag("--json", flags->json, "JSON instead of a table");
  flags->config.AddTo(*command, {"model."});
  command->callback([flags, action, pair] {
    flags->has_pair = pair->count() > 0;
    *action = [flags] { return ExitCode(RunTokenize(*flags)); };
  });
}

}  // namespace rerankd
