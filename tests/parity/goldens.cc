#include "goldens.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "base/file.h"
#include "base/text.h"

namespace rerankd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kRoot = RERANKD_SOURCE_DIR;
const fs::path kParity = kRoot / "tests" / "parity";

using Texts = std::map<std::string, std::string>;  // by id
struct TextPool {
  Texts queries, documents;
};

std::string EnvironmentOr(const char* name, const fs::path& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback.string();
}

TextPool OwnTexts() {
  const auto text = ReadFile((kParity / "texts.json").string());
  if (!text.ok()) return {};
  const json parsed = json::parse(*text);
  TextPool pool;
  const auto number = [](const json& list, Texts* texts) {
    for (const auto& item : list) texts->emplace(std::to_string(texts->size()), item.get<std::string>());
  };
  number(parsed["queries"], &pool.queries);
  number(parsed["documents"], &pool.documents);
  return pool;
}

// The texts with one of the `wanted` ids of a BEIR file; a title stands before its text.
Texts ReadBeir(const fs::path& path, const std::set<std::string>& wanted) {
  Texts texts;
  auto reader = LineReader::Open(path.string());
  std::string line;
  while (reader.ok() && reader->Next(&line)) {
    const json entry = json::parse(line);
    const auto id = entry["_id"].get<std::string>();
    if (!wanted.contains(id)) continue;
    const std::string title = entry.value("title", "");
    texts[id] = (title.empty() ? "" : title + " ") + entry["text"].get<std::string>();
  }
  return texts;
}

std::vector<std::vector<std::string>> ReadRows(const fs::path& path) {
  std::vector<std::vector<std::string>> rows;
  auto reader = LineReader::Open(path.string());
  std::string line;
  while (reader.ok() && reader->Next(&line)) {
    const auto fields = Split(line, '\t');
    rows.emplace_back(fields.begin(), fields.end());
  }
  if (!rows.empty()) rows.erase(rows.begin());  // the column names
  return rows;
}

fs::path Dl19Folder() {
  return fs::path(EnvironmentOr("RERANKD_TEST_DATA", kRoot.parent_path() / "shared" / "data")) /
         "msmarco-dl19";
}

TextPool Dl19Texts(const std::vector<std::vector<std::string>>& rows) {
  std::set<std::string> queries, documents;
  for (const auto& row : rows) {
    queries.insert(row[0]);
    documents.insert(row[1]);
  }
  return {ReadBeir(Dl19Folder() / "queries.jsonl", queries),
          ReadBeir(Dl19Folder() / "corpus.jsonl", documents)};
}

}  // namespace

void PrintTo(const GoldenSet& set, std::ostream* out) { *out << set.name; }

std::string WhyAbsent(const GoldenSet& set) {
  if (!fs::exists(set.model / "config.json"))
    return "no model in " + set.model.string() + " (tests/parity/README.md says how to make it)";
  if (!set.own_texts && !fs::exists(Dl19Folder()))
    return "no data in " + Dl19Folder().string() + " (set RERANKD_TEST_DATA)";
  return "";
}

std::vector<GoldenPair> ReadGoldens(const GoldenSet& set) {
  const auto rows = ReadRows(set.file);
  const TextPool texts = set.own_texts ? OwnTexts() : Dl19Texts(rows);
  std::vector<GoldenPair> pairs;
  for (const auto& row : rows) {
    GoldenPair pair{texts.queries.at(row[0]), texts.documents.at(row[1]), std::stoi(row[2]), {}};
    for (size_t i = 3; i < row.size(); ++i) pair.logits.push_back(std::stof(row[i]));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::vector<GoldenSet> AllGoldens() {
  std::vector<GoldenSet> sets;
  for (const auto& entry : fs::directory_iterator(kRoot / "tests" / "data")) {
    if (fs::exists(entry.path() / "golden.tsv"))
      sets.push_back({entry.path().filename().string(), entry.path(), entry.path() / "golden.tsv", true});
  }
  for (const auto& entry : fs::directory_iterator(kParity)) {
    if (entry.path().extension() != ".tsv") continue;
    const std::string stem = entry.path().stem().string();
    const std::string model = stem.substr(0, stem.rfind('_'));
    const fs::path folder = model == "minilm"
                                ? fs::path(EnvironmentOr("RERANKD_TEST_MINILM", kRoot / "build" / "minilm"))
                                : kRoot / "models" / model;
    sets.push_back({stem, folder, entry.path(), stem.ends_with("_own")});
  }
  std::sort(sets.begin(), sets.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return sets;
}

EncodedPairs Encode(const Tokenizer& tokenizer, int max_length, const std::vector<GoldenPair>& pairs) {
  EncodedPairs encoded;
  PairOptions options;
  options.max_length = max_length;
  for (const GoldenPair& pair : pairs) {
    std::vector<int32_t> query;
    tokenizer.EncodeText(pair.query, options.escape_special, &query);
    const Status status = tokenizer.AppendPair(query, pair.document, options, &encoded);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  return encoded;
}

}  // namespace rerankd
