#include "eval/trec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace rerankd {
namespace {

std::vector<std::string_view> Columns(std::string_view line) {
  std::vector<std::string_view> columns;
  constexpr std::string_view kBlank = " \t";
  for (size_t at = line.find_first_not_of(kBlank); at != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlank, at), line.size());
    columns.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(kBlank, end);
  }
  return columns;
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string At(const std::string& path, const LineReader& reader) {
  return fmt::format("{}:{}", path, reader.line_number());
}

}  // namespace

void SortAsTrecEval(std::vector<ScoredDoc>* docs) {
  std::sort(docs->begin(), docs->end(), [](const ScoredDoc& a, const ScoredDoc& b) {
    const auto score_a = static_cast<float>(a.score), score_b = static_cast<float>(b.score);
    return score_a != score_b ? score_a > score_b : a.id > b.id;
  });
}

Result<TrecRun> ReadRun(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  TrecRun run;
  std::unordered_map<std::string, size_t> index;
  std::unordered_set<std::string> seen;
  for (std::string line; reader.Next(&line);) {
    const auto columns = Columns(line);
    if (columns.empty()) continue;
    ScoredDoc doc;
    if (columns.size() != 6 || !ParseNumber(columns[4], &doc.score) || !std::isfinite(doc.score))
      return InvalidArgument(At(path, reader) + ": not a TREC run line 'query Q0 document rank score tag'");
    const std::string query(columns[0]);
    doc.id = columns[2];
    if (!seen.insert(query + '\t' + doc.id).second)
      return InvalidArgument(
          fmt::format("{}: document '{}' stands twice under query '{}'", At(path, reader), doc.id, query));
    const auto [at, added] = index.try_emplace(query, run.size());
    if (added) run.push_back({query, {}});
    run[at->second].docs.push_back(std::move(doc));
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  for (QueryRun& query : run) SortAsTrecEval(&query.docs);
  return run;
}

Result<Qrels> ReadQrels(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  Qrels qrels;
  for (std::string line; reader.Next(&line);) {
    const auto columns = Columns(line);
    if (columns.empty()) continue;
    int grade = 0;
    const bool shaped = columns.size() == 3 || columns.size() == 4;
    if (!shaped || !ParseNumber(columns.back(), &grade)) {
      if (columns.size() == 3 && reader.line_number() == 1) continue;  // BEIR's header
      return InvalidArgument(At(path, reader) + ": not a qrels line 'query [0] document grade'");
    }
    qrels[std::string(columns[0])][std::string(columns[columns.size() - 2])] = grade;
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  if (qrels.empty()) return InvalidArgument("'" + path + "' holds no judgement");
  return qrels;
}

std::string FormatRun(const QueryRun& run, std::string_view tag) {
  std::string text;
  for (size_t i = 0; i < run.docs.size(); ++i)
    text +=
        fmt::format("{} Q0 {} {} {:.9g} {}\n", run.query_id, run.docs[i].id, i + 1, run.docs[i].score, tag);
  return text;
}

Result<Texts> ReadTexts(const std::string& path, const std::unordered_set<std::string>* wanted) {
  RERANKD_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  Texts texts;
  for (std::string line; reader.Next(&line);) {
    if (line.empty()) continue;
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("_id") || !json["_id"].is_string() || !json.contains("text") ||
        !json["text"].is_string())
      return InvalidArgument(At(path, reader) + ": not a JSON object with the strings '_id' and 'text'");
    auto id = json["_id"].get<std::string>();
    if (wanted != nullptr && wanted->count(id) == 0) continue;
    const std::string title = json.contains("title") && json["title"].is_string() ? json["title"] : "";
    const auto text = json["text"].get<std::string>();
    texts.emplace(std::move(id), title.empty() ? text : title + " " + text);
  }
  RERANKD_RETURN_IF_ERROR(reader.status());
  return texts;
}

}  // namespace rerankd
